#include "emissary/asked.h"

#include "executor/base/clock.h"

#include <poll.h>
#include <signal.h>

static void tell(struct asked_request *request, const struct log *log, enum log_level level)
{
	log_at(log, level, "Received signal", log_int("signal", request->signo),
	       log_string("source", request->source), log_int("pid", request->pid),
	       log_int("uid", request->uid),
	       log_duration("ago", (clock_now_ms() - request->at_ms) * 1000000));
	request->is_due = false;
}

static bool takes_a_line(const struct log *log)
{
	struct pollfd room = { .fd = log->fd, .events = POLLOUT };

	return poll(&room, 1, 0) == 1 && (room.revents & POLLOUT);
}

void asked_note(struct asked *asked, const struct log *log, const struct asked_request *request)
{
	bool is_kill = request->signo == SIGKILL;
	struct asked_request *slot = is_kill ? &asked->kill : &asked->mildly;
	struct asked_request one = *request;

	one.at_ms = clock_now_ms();
	if (slot->signo || asked->kill.signo) {
		tell(&one, log, LOG_DEBUG);
		return;
	}
	one.is_due = true;
	*slot = one;
	if (takes_a_line(log))
		asked_tell(asked, log);
}

void asked_tell(struct asked *asked, const struct log *log)
{
	if (asked->mildly.is_due)
		tell(&asked->mildly, log, LOG_INFO);
	if (asked->kill.is_due)
		tell(&asked->kill, log, LOG_INFO);
}
