/*
 * What went wrong, for a program (code, class) and for a person (message).
 *
 * A function that can fail returns 0 (or a positive count) or a negative errno, and fills the
 * caller's struct error on failure only. The message reads from the outermost context to the
 * innermost cause ("artifact o failed to save: put object a/b: connection refused"); it lives in
 * a fixed buffer, so reporting works when memory does not. docs/errors.md has a worked example.
 */
#pragma once

#include <stdbool.h>

/* Room for one line that a person reads; a kubelet shows at most 4096 bytes of it. */
#define ERROR_MESSAGE_MAX 2048

/* How an outcome is treated by everything that may try again. Only TRANSIENT to CLOCK_SKEW are
 * worth another attempt; NOT_FOUND is the one class that lets an optional artifact be skipped. */
enum error_class {
	ERROR_PERMANENT = 0,
	ERROR_NOT_FOUND,
	ERROR_TRANSIENT,
	ERROR_THROTTLED,
	ERROR_EXPIRED_CREDENTIALS,
	ERROR_WRONG_REGION,
	ERROR_CLOCK_SKEW,
	ERROR_CANCELLED,
	ERROR_CLASS_COUNT,
};

struct error {
	int code; /* negative errno; 0 = no error */
	enum error_class class;
	char message[ERROR_MESSAGE_MAX]; /* one line of valid UTF-8, whatever went into it */
};

/* An initialiser for a local: `struct error err = ERROR_NONE;` */
#define ERROR_NONE ((struct error){ .code = 0 })

/* Fills err (which may be NULL) and returns code, so that `return error_set(…)` is the idiom.
 * The class is PERMANENT, except ENOENT → NOT_FOUND and ECANCELED → CANCELLED. */
int error_set(struct error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same with the class named. */
int error_set_class(struct error *err, int code, enum error_class class, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* error_set() with ": <strerror(-code)>" appended in lower case, as users know it
 * ("open /x: no such file or directory"). */
int error_errno(struct error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "<context>: " in front of the message; returns err's code (or code when err is NULL). */
int error_prefix(struct error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Appends text to the message; returns err's code. */
int error_append(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends " (<class>)" for whoever reads nothing else, unless the message says it already, or what
 * the class leads to is told anyway (NOT_FOUND, CANCELLED). */
void error_tell_class(struct error *err);

/* True if the last brackets of the message name its class already. */
bool error_tells_class(const struct error *err);

/* True for the classes that another attempt may cure. */
bool error_is_retryable(const struct error *err);

/* "transient", "not found", …; static storage. */
const char *error_class_name(enum error_class class);

/* Copies the text of errno `code` (sign ignored) into buffer, lower case, the C library's words
 * ("no such file or directory"); returns buffer. */
const char *error_text(int code, char *buffer, int size);
