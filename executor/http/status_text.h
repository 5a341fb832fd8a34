/* The reason phrases of RFC 9110, 15 and RFC 6585, as Go has them, for answers without one
 * (HTTP/2 sends none); "" for others. Static storage. */
#pragma once

const char *http_status_text(int status);
