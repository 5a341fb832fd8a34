/* What this build is. The values come from the build, not from the source. */
#pragma once

/* "v0.1.0", or "v0.1.0+1a2b3c4" between releases. */
const char *version_text(void);

/* The lines of `argoexec version` behind the first one. */
void version_print_details(int fd);
