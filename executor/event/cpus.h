/* How many processors this process may keep busy. */
#pragma once

/*
 * The processors it is allowed to run on, or fewer if the CPU quota of its control group (cpu.max
 * of version 2, cpu.cfs_quota_us of version 1; the strictest between it and the top) gives less:
 * half a processor more counts as a whole one. At least 1. What cannot be read limits nothing.
 *
 * `root` is "/", or a directory with `proc` and `sys` in it; it ends with a slash.
 */
unsigned cpus_usable(const char *root);
