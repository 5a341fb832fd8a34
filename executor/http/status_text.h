/* The reason phrases of RFC 9110, 15 and RFC 6585, as Go has them; "" for others. Static storage. */
#pragma once

const char *http_status_text(int status);
