/* The wrapper's end of the channel for fuzz_channel.c, which says what is required of it. */
#pragma once

#include "tests/fuzz/fuzz.h"

void channel_wrapper_run(struct fuzz_input input);
