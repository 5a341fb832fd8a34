"""Random schedules: the life of a pod in bare namespaces, disturbed at any instant.

    python3 -m tests.schedules SEED [-v]     one seed; -v: its plan and what happened when
    python3 -m tests.schedules --count 200   many, several at a time

A schedule is a pure function of its seed (plan.py): containers, what the user's processes do, and
who stops, kills, removes or freezes what, and when. play.py carries it out, with the real binary in
PID and mount namespaces (cell.c), against a Kubernetes API of the tests, and user processes that
record what they really did (actor.c). oracle.py says which outcomes the events that were in fact
delivered allow. When an event falls depends on the machine by some milliseconds, so a seed that has
failed may need several runs to fail again: -n repeats it.
"""
