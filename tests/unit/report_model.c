#include "tests/unit/report_model.h"

#include "executor/base/cleanup.h"
#include "tests/unit/report_model_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define BLOCK 64
#define BLOCKS ((sizeof(struct world) + BLOCK - 1) / BLOCK)

/* --- states between actions ----------------------------------------------------------------- */

/* Most of a world is the unused rest of error messages. */
static struct model_state pack(const struct world *world)
{
	static unsigned char padded[BLOCKS * BLOCK];
	static const unsigned char zeros[BLOCK];
	unsigned char bitmap[(BLOCKS + 7) / 8] = { 0 };
	unsigned char packed[sizeof(bitmap) + sizeof(padded)];
	size_t size = sizeof(bitmap);
	struct model_state state;

	memcpy(padded, world, sizeof(*world));
	for (size_t i = 0; i < BLOCKS; i++) {
		if (!memcmp(padded + i * BLOCK, zeros, BLOCK))
			continue;
		bitmap[i / 8] |= (unsigned char)(1 << i % 8);
		memcpy(packed + size, padded + i * BLOCK, BLOCK);
		size += BLOCK;
	}
	memcpy(packed, bitmap, sizeof(bitmap));
	state = (struct model_state){ .data = malloc(size), .size = size };
	assert_non_null(state.data);
	memcpy(state.data, packed, size);
	return state;
}

static void unpack(const struct model_state *state, struct world *world)
{
	unsigned char padded[BLOCKS * BLOCK] = { 0 };
	const unsigned char *bitmap = state->data;
	const unsigned char *next = bitmap + (BLOCKS + 7) / 8;

	for (size_t i = 0; i < BLOCKS; i++) {
		if (!(bitmap[i / 8] & 1 << i % 8))
			continue;
		memcpy(padded + i * BLOCK, next, BLOCK);
		next += BLOCK;
	}
	memcpy(world, padded, sizeof(*world));
}

void model_state_done(struct model_state *state)
{
	free(TAKE_PTR(state->data));
}

struct model_state model_start(enum model_beginning beginning)
{
	struct world *world = world_new();
	struct model_state state;

	if (beginning == MODEL_IS_RETRIED)
		world_be_retried(world);
	world_start(world, beginning != MODEL_MAIN_IS_RUNNING);
	world_rest(world);
	state = pack(world);
	free(world);
	return state;
}

/* --- what can happen ------------------------------------------------------------------------ */

static const char *const names[MODEL_ACTIONS] = {
	[MODEL_MAIN_ENDS] = "main ends",
	[MODEL_STORED] = "a is stored",
	[MODEL_STORED + 1] = "the log is stored",
	[MODEL_FAILED] = "a fails",
	[MODEL_FAILED + 1] = "the log fails",
	[MODEL_DIES_RECORDING] = "a is stored; wait dies while it records that",
	[MODEL_DIES_RECORDING + 1] = "the log is stored; wait dies while it records that",
	[MODEL_ANSWERED] = "the request is carried out and answered",
	[MODEL_REFUSED_409] = "the request is refused with 409",
	[MODEL_REFUSED_500] = "the request is refused with 500",
	[MODEL_ANSWER_LOST] = "the request is carried out, the answer is lost",
	[MODEL_LOST] = "the connection is lost, the request is on its way",
	[MODEL_ARRIVES_LATE] = "the request that was on its way is carried out",
	[MODEL_SIGTERM] = "SIGTERM",
	[MODEL_EARLY_DUE] = "an early report is due",
	[MODEL_CLOSE_DUE] = "the grace period is nearly over",
	[MODEL_REOPEN_DUE] = "the grace period is long over",
	[MODEL_PAUSE_ENDS] = "the pause ends",
	[MODEL_DIES] = "wait dies",
	[MODEL_RESTARTS] = "wait is started again",
	[MODEL_OTHER_WRITES] = "the other writer writes",
};

const char *model_action_name(enum model_action action)
{
	return names[action];
}

static bool is_pending(const struct world *world, unsigned item)
{
	return world->phase == PHASE_SAVING && !world->items[item].is_settled;
}

static bool is_enabled(const struct world *world, enum model_action action)
{
	switch ((int)action) {
	case MODEL_MAIN_ENDS:
		return world->phase == PHASE_MAIN;
	case MODEL_STORED:
	case MODEL_STORED + 1:
		return is_pending(world, action - MODEL_STORED);
	case MODEL_FAILED:
	case MODEL_FAILED + 1:
		return is_pending(world, action - MODEL_FAILED);
	case MODEL_DIES_RECORDING:
	case MODEL_DIES_RECORDING + 1:
		return is_pending(world, action - MODEL_DIES_RECORDING);
	case MODEL_ANSWERED:
	case MODEL_REFUSED_409:
	case MODEL_REFUSED_500:
	case MODEL_ANSWER_LOST:
		return world->sent.is_there;
	case MODEL_LOST:
		return world->sent.is_there && !world->late.is_there;
	case MODEL_ARRIVES_LATE:
		return world->late.is_there;
	case MODEL_SIGTERM:
		return world_is_alive(world) && !world->reporting.is_finished;
	case MODEL_EARLY_DUE:
		return world_is_armed(&world->reporting.early);
	case MODEL_CLOSE_DUE:
		return world_is_armed(&world->reporting.close);
	case MODEL_REOPEN_DUE:
		/* It comes later. */
		return world_is_armed(&world->reporting.reopen) &&
		       !world_is_armed(&world->reporting.close);
	case MODEL_PAUSE_ENDS:
		return world_is_armed(&world->result.pause);
	case MODEL_DIES:
		return world_is_alive(world);
	case MODEL_RESTARTS:
		return world->phase == PHASE_DEAD;
	case MODEL_OTHER_WRITES:
		return true;
	default:
		return false;
	}
}

bool model_is_enabled(const struct model_state *state, enum model_action action)
{
	struct world world;

	unpack(state, &world);
	return is_enabled(&world, action);
}

static void perform(struct world *world, enum model_action action)
{
	switch ((int)action) {
	case MODEL_MAIN_ENDS:
		world_end_main(world);
		break;
	case MODEL_STORED:
	case MODEL_STORED + 1:
		world_settle(world, action - MODEL_STORED, true);
		break;
	case MODEL_FAILED:
	case MODEL_FAILED + 1:
		world_settle(world, action - MODEL_FAILED, false);
		break;
	case MODEL_DIES_RECORDING:
	case MODEL_DIES_RECORDING + 1:
		world_die_recording(world, action - MODEL_DIES_RECORDING);
		break;
	case MODEL_ANSWERED:
	case MODEL_REFUSED_409:
	case MODEL_REFUSED_500:
	case MODEL_ANSWER_LOST:
	case MODEL_LOST:
		world_answer(world, action);
		break;
	case MODEL_ARRIVES_LATE:
		world_arrive_late(world);
		break;
	case MODEL_SIGTERM:
		reporting_terminate(&world->reporting);
		break;
	case MODEL_EARLY_DUE:
		world_fire(world, &world->reporting.early);
		break;
	case MODEL_CLOSE_DUE:
		world_fire(world, &world->reporting.close);
		break;
	case MODEL_REOPEN_DUE:
		world_fire(world, &world->reporting.reopen);
		break;
	case MODEL_PAUSE_ENDS:
		world_fire(world, &world->result.pause);
		break;
	case MODEL_DIES:
		world_die(world);
		break;
	case MODEL_RESTARTS:
		world_start(world, true);
		break;
	default:
		world_other_writes(world);
		break;
	}
	world_go_on(world);
}

struct model_state model_act(const struct model_state *state, enum model_action action,
			     const char **ret_wrong)
{
	struct world world;

	unpack(state, &world);
	world_wake(&world);
	perform(&world, action);
	world_rest(&world);
	*ret_wrong = world.wrong;
	return pack(&world);
}

/* --- the end --------------------------------------------------------------------------------- */

const char *model_try_end(const struct model_state *state)
{
	/* In this order: what is stored is reported only then. */
	static const enum model_action good[] = {
		MODEL_ANSWERED,   MODEL_PAUSE_ENDS, MODEL_MAIN_ENDS,    MODEL_STORED,
		MODEL_STORED + 1, MODEL_RESTARTS,   MODEL_ARRIVES_LATE,
	};
	struct world world;

	unpack(state, &world);
	for (int step = 0; step < 64; step++) {
		size_t i = 0;

		while (i < sizeof(good) / sizeof(*good) && !is_enabled(&world, good[i]))
			i++;
		if (i == sizeof(good) / sizeof(*good))
			break;
		world_wake(&world);
		perform(&world, good[i]);
		world_rest(&world);
		if (world.wrong)
			return world.wrong;
	}
	return world_judge_end(&world);
}

/* --- keys ------------------------------------------------------------------------------------ */

struct key {
	unsigned char *bytes;
	size_t size;
};

static void put(struct key *key, uint32_t value)
{
	assert_true(key->size + sizeof(value) <= MODEL_KEY_MAX);
	memcpy(key->bytes + key->size, &value, sizeof(value));
	key->size += sizeof(value);
}

/* Bits that are gathered. */
struct bits {
	uint32_t value;
};

static void bit(struct bits *bits, bool value)
{
	bits->value = bits->value << 1 | value;
}

/* An old resourceVersion stays old, whichever it is. */
static uint32_t age(const struct world *world, int64_t version)
{
	return version < 0 ? 0 : version == world->version ? 1 : 2;
}

static void put_request(struct key *key, const struct world *world,
			const struct world_request *request)
{
	if (!request->is_there) {
		put(key, 0);
		return;
	}
	/* What it says is of no interest any more. */
	if (world_is_void(world, request)) {
		put(key, 1u | 1u << 6);
		return;
	}
	put(key, 1u | age(world, request->version) << 1 | (uint32_t)request->is_post << 3 |
			 (uint32_t)request->is_all << 4 |
			 (uint32_t)(request->number < world->newest) << 5 |
			 (uint32_t)request->needed << 8);
	put(key, request->plain);
}

static void put_reporting(struct key *key, const struct world *world)
{
	const struct reporting *reporting = &world->reporting;
	struct bits bits = { 0 };

	bit(&bits, reporting->has_captured);
	bit(&bits, reporting->is_terminating);
	bit(&bits, reporting->has_news);
	bit(&bits, reporting->is_close_due);
	bit(&bits, reporting->is_closed);
	bit(&bits, reporting->is_finished);
	bit(&bits, world_is_armed(&reporting->early));
	bit(&bits, world_is_armed(&reporting->close));
	bit(&bits, world_is_armed(&reporting->reopen));
	for (unsigned i = 0; i < MODEL_ITEMS; i++) {
		bit(&bits, world->items[i].is_settled);
		bit(&bits, world->items[i].stored);
	}
	put(key, bits.value);
}

static void put_result(struct key *key, const struct world *world)
{
	const struct task_result *result = &world->result;
	struct bits bits = { 0 };

	bit(&bits, result->exists);
	bit(&bits, result->is_version_known);
	bit(&bits, result->is_complete);
	bit(&bits, result->is_completing);
	bit(&bits, result->is_inherited);
	bit(&bits,
	    world->reopening_version >= 0 && world->reopening_version == world->known_version);
	bit(&bits, result->is_settled);
	bit(&bits, result->is_seen);
	bit(&bits, result->is_earlier);
	bit(&bits, result->is_pausing);
	bit(&bits, world_is_armed(&result->pause));
	for (int step = 0; step < TASK_RESULT_STEPS; step++) {
		bits.value = bits.value << 2 | result->steps[step].state;
		bit(&bits, world->sent.is_there &&
				   result->steps[step].sent == result->steps[step].revision);
	}
	put(key, bits.value);
	put(key, (world->sent.is_there ? (uint32_t)result->request : 0) |
			 age(world, world->known_version) << 8 |
			 age(world, world->reopening_version) << 10 |
			 (result->detours > 3 ? 3 : result->detours) << 16);
	put(key, world->outputs);
}

size_t model_key(const struct model_state *state, unsigned char bytes[MODEL_KEY_MAX])
{
	struct key key = { .bytes = bytes };
	struct world world;

	unpack(state, &world);
	put(&key, world.phase | (uint32_t)world.in_store << 8 | (uint32_t)world.confirmed << 16 |
			  (uint32_t)world.closed << 24);
	put(&key, world_object_key(&world));
	put(&key, world.journal_key);
	put_request(&key, &world, &world.sent);
	put_request(&key, &world, &world.late);
	if (world.phase <= PHASE_DONE)
		put_reporting(&key, &world);
	if (world.phase < PHASE_DONE)
		put_result(&key, &world);
	return key.size;
}
