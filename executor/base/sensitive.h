/*
 * Memory that holds keys, tokens and passwords. It is zeroed before it is given back, and until then kept
 * out of swap where the limit (RLIMIT_MEMLOCK) allows: what cannot be locked is used all the same. Pages
 * that were locked once stay so: another secret may lie in them.
 */
#pragma once

#include <stddef.h>

void sensitive_lock(void *memory, size_t size);

/* A locked copy; NULL = out of memory. */
char *sensitive_copy(const char *text);

/* Zeroes `size` bytes and gives the memory back. NULL is fine. */
void sensitive_free(void *memory, size_t size);
