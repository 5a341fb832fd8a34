/* What a command leaves running when it has ended. */
#pragma once

/* How long killed processes have to be gone. */
#define LEFTOVERS_MS 1000

/*
 * Where this process is PID 1 of its namespace: kills everything else in there, as the kernel would
 * do a moment later anyway, and waits for it to be gone, so that nobody changes the outputs while
 * they are handed over. Elsewhere it does nothing: who else lives there is not ours.
 */
void leftovers_end(void);
