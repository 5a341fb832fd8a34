/* Numbers of the zip format (PKWARE APPNOTE 6.3, Info-ZIP extra fields) that the writer and the
 * reader share. All integers in the file are little-endian. */
#pragma once

#include <stdint.h>

#define ZIP_LOCAL_SIGNATURE 0x04034b50u
#define ZIP_CENTRAL_SIGNATURE 0x02014b50u
#define ZIP_DESCRIPTOR_SIGNATURE 0x08074b50u
#define ZIP_END_SIGNATURE 0x06054b50u
#define ZIP64_END_SIGNATURE 0x06064b50u
#define ZIP64_LOCATOR_SIGNATURE 0x07064b50u

#define ZIP_LOCAL_BYTES 30
#define ZIP_CENTRAL_BYTES 46
#define ZIP_END_BYTES 22
#define ZIP64_END_BYTES 56
#define ZIP64_LOCATOR_BYTES 20

#define ZIP_FLAG_ENCRYPTED 0x0001u
#define ZIP_FLAG_DESCRIPTOR 0x0008u
#define ZIP_FLAG_UTF8 0x0800u

#define ZIP_METHOD_STORE 0u
#define ZIP_METHOD_DEFLATE 8u

#define ZIP_EXTRA_ZIP64 0x0001u
#define ZIP_EXTRA_TIME 0x5455u

#define ZIP_CREATOR_UNIX 3u
#define ZIP_CREATOR_MACOS 19u

#define ZIP_MAX16 0xffffu
#define ZIP_MAX32 0xffffffffu
