/* The media type of an object by the extension of a file name. */
#pragma once

/* Never NULL; static storage. "application/octet-stream" for what is not known. The table is ours:
 * what a file is called must not depend on the machine (/etc/mime.types). */
const char *object_content_type(const char *name);
