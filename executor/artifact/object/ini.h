/* Files of sections and "name = value" lines, as command line tools of cloud vendors keep them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Whether there is a line "[section]" (white space inside the brackets does not count). */
bool ini_has_section(const char *text, const char *section);

/* Copies the value of the last "name = value" line in sections of that name, without white space at
 * its ends; one of more than size - 1 bytes is cut. Lines that begin with '#' or ';' are comments, and so
 * is what stands behind " #" or " ;". Lines that begin with white space belong to the value above them,
 * and are skipped. False if there is none; `value` is "" then. */
bool ini_get(const char *text, const char *section, const char *name, char *value, size_t size);
