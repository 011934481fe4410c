/*
 * One run, from the message on jobs.<owner> to its event: docs/protocol.md, "Runs: attempts and one end".
 *
 *   Intake       trainer/intake.c: step, take, accept_job, create_job, known_job, cancel
 *   Worker       trainer/worker.c: turn, attempt_run, read_run, create_attempt, release, put_behind;
 *                trainer/attempt.c: attempt_look, await_the_living, phases, judge, crashed, hand_over, conclude;
 *                trainer/push.c push_artifact (files, then the manifest)
 *   Sweep        trainer/sweep.c: sweep_run, requeue_dead
 *   settle()     trainer/job.c: job_end, job_settle
 *   Redis        board_push, board_lease, board_release; leases that expire, FLUSHALL
 *   Publisher    its two steps only: the commit, the marker; publish.pml has the whole
 *   User         asks for the run, and perhaps cancels it
 *
 * Two intakes with a worker, and two workers with an intake; each intake believes that the partition is
 * its own. A lease may expire though its holder lives, and a heartbeat may be late: these are faults, like
 * deaths, lost answers and FLUSHALL. That the lease of a dead worker expires is not. A run may be POISON:
 * every training process that is started for it dies.
 *
 * Held by asserts: an end never changes and there is one; a finished run's files and manifest are there
 * before its end, are one attempt's, and nobody writes to them afterwards; an attempt's number is one
 * worker's; the run has at most one event, and only if it is FINISHED; a cancel answers with the state
 * that won; a run does not FAIL if nothing went wrong, or only Redis was unkind to it; of a poison run no
 * more processes die than it may have attempts. Held by `ends`: a run whose message was acknowledged ends,
 * is told if it is FINISHED, and leaves no marker. Held by `remembered`: an accepted run without an end has
 * its marker, at every moment.
 */
#include "store.pml"

#define FINISHED  1
#define FAILED    2
#define CANCELLED 3

#ifndef INTAKES
#define INTAKES 1
#endif
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef TRIES
#define TRIES 2 /* max_attempts */
#endif
#define NUMBERS (TRIES + FAULTS + 2)
#define FIT    1
#define CANCEL 2

/* Kafka */
byte asked, taken;         /* messages of jobs.<owner>: a fit, then perhaps a cancel; the offset */
bool done;                 /* a message on `done` that no publisher is past */
byte events;

/* S3 */
bool open, job, attempt[NUMBERS], released[NUMBERS];
byte owner_of[NUMBERS], files[NUMBERS], manifest[NUMBERS]; /* who wrote it, counted from 1 */
byte end, end_n;
byte wire_end, wire_n;     /* a create of end.json that nobody waits for */

/* Redis */
bool queued;
byte holder;               /* of the lease, counted from 1 */
#if defined(BUG_TOKEN_FROM_REDIS)
byte token;
#endif

bool at_it[3];             /* a live worker is in an attempt */
byte in_attempt[3];        /* which it has created */
#if defined(POISON)
byte crashes;              /* each attempt's child dies, and that is no fault */
#endif
bool died;                 /* a worker, its child, or an answer of S3: not only Redis */

#define TROUBLE FAULT
#define DEATH   FAULT; died = true

inline push()
{
    queued = queued || holder == 0
}

/* --- end.json --- */

inline end_lands(state, n)
{
    HOLDS(one_end, end == 0);
    HOLDS(not_of_redis_alone, state != FAILED || died);
    HOLDS(whole_before_end, state != FINISHED || (files[n] == owner_of[n] && manifest[n] == owner_of[n] && owner_of[n]));
    end = state;
    end_n = n
}

#if defined(BUG_CANCEL_OVERWRITES)
#define FREE(state) (end == 0 || state == CANCELLED)
#else
#define FREE(state) (end == 0)
#endif

/* job_end's create: 412 with another's nonce means to read and obey. */
inline create_end(state, n)
{
    atomic {
        if
        :: FREE(state) -> end_lands(state, n); rc = OK
        :: !FREE(state) -> rc = OK
        :: FREE(state) && DEATH; end_lands(state, n); rc = PEER
        :: DEATH; rc = PEER
        :: wire_end == 0 && DEATH; wire_end = state; wire_n = n; rc = PEER
        fi
    }
}

/* The end is told, then the marker of a run that is not FINISHED goes. */
inline settle()
{
#if defined(BUG_MARKER_BEFORE_DONE)
    open = false;
#endif
    if
    :: atomic { done = true }
#if !defined(BUG_MARKER_BEFORE_DONE)
        if
        :: atomic { end != FINISHED -> open = false }
        :: else
        fi
#endif
    :: atomic { TROUBLE } /* not sent: the sweep will */
    fi
}

/* --- intake --- */

active [INTAKES] proctype Intake()
{
    byte at, rc;

again:
    atomic { rc = 0; at = taken }
end_wait:
    do
    :: atomic { at < asked && at == 0 }
#if defined(BUG_COMMIT_BEFORE_JOB)
        taken = 1;
#endif
        if
        :: atomic { job && end == 0 -> push(); goto next }
        :: atomic { job && end != 0 -> goto next }
        :: atomic { !job }
        fi;
#if !defined(BUG_NO_MARKER) && !defined(BUG_MARKER_AFTER_JOB)
        open = true;
#endif
        if /* job.json; another intake's has the same request's hash */
        :: atomic { job = true }
        :: atomic { TROUBLE; job = true; goto again }
        :: atomic { TROUBLE; goto again }
        fi;
#if defined(BUG_MARKER_AFTER_JOB)
        if
        :: open = true
        :: atomic { TROUBLE; goto again }
        fi;
#endif
        if
        :: atomic { push() }
        :: atomic { TROUBLE; goto again }
        fi;
        goto next
    :: atomic { at < asked && at == 1 }
        rc = (attempt[1] -> 1 : 0); /* attempts are listed: CREATED or STARTED */
        create_end(CANCELLED, rc);
        if
        :: atomic { rc == PEER -> rc = 0; goto again }
#if defined(BUG_CANCEL_ANSWERS_ITSELF)
        :: atomic { rc == OK -> rc = CANCELLED }
#else
        :: atomic { rc == OK -> rc = end }
#endif
        fi;
        settle();
        HOLDS(cancel_answers_what_won, rc == end) /* and it stays true */
next:
        if
        :: atomic { rc = 0; at++; taken = at }
        :: atomic { TROUBLE; goto again } /* not committed: it comes again */
        fi
    :: atomic { TROUBLE; goto again }
    od
}

/* --- workers --- */

#if defined(BUG_412_IS_A_LOSS)
#define OWN_412 EXISTS
#else
#define OWN_412 OK
#endif

/* rc = the attempts that count. */
#define COUNT \
    k = 1; rc = 0; \
    do \
    :: k < NUMBERS && attempt[k] -> rc = rc + 1 - released[k]; k++ \
    :: else -> break \
    od; \
    k = 0

/* The rest is a later attempt's matter. */
#if defined(BUG_COUNTS_LATER)
#define LATER false
#else
#define LATER attempt[n + 1]
#endif

/* Somebody alive is in an attempt that another has fenced, and has not looked yet. */
#define FENCED_IN(w) (at_it[w] && in_attempt[w] != 0 && in_attempt[w] < n)
#define FENCED_ALIVE (FENCED_IN(1) || FENCED_IN(2))

active [WORKERS] proctype Worker()
{
    byte me = _pid - INTAKES + 1, n, rc, k;
    bool landed, last;

idle:
    atomic { at_it[me] = false; in_attempt[me] = 0; n = 0; rc = 0; landed = false; last = false }
end_idle:
    atomic { queued -> queued = false; holder = me; at_it[me] = true }
look:
    if
    :: atomic { end != 0 -> goto over }
    :: atomic { end == 0 && !job -> goto over }
    :: atomic { end == 0 && job }
    fi;
    atomic { /* the listing: n = highest + 1, rc = those that count */
        n = 1; rc = 0;
        do
        :: n < NUMBERS && attempt[n] -> rc = rc + 1 - released[n]; n++
        :: else -> break
        od;
        last = rc >= TRIES;
        rc = 0
    }
#if defined(BUG_GIVES_UP_UNFENCED)
    if
    :: atomic { last -> n = n - 1; goto give_up }
    :: else
    fi;
#endif
#if defined(BUG_TOKEN_FROM_REDIS)
    atomic { token++; n = token; attempt[n] = true; owner_of[n] = me; in_attempt[me] = n };
#else
    do
    :: atomic {
        if
        :: !attempt[n] -> attempt[n] = true; owner_of[n] = me; in_attempt[me] = n; rc = OK
        :: attempt[n] && landed -> rc = OWN_412
        :: attempt[n] && !landed -> rc = EXISTS
        :: !attempt[n] && FAULT; attempt[n] = true; owner_of[n] = me; in_attempt[me] = n; landed = true; rc = PEER
        :: DEATH; landed = false; goto again /* past its deadline */
        fi;
        if
        :: rc != PEER -> landed = false; break
        :: else
        fi
    }
    od;
    if
    :: atomic { rc == OK }
    :: atomic { rc == EXISTS && holder == me -> rc = 0; goto look }
    :: atomic { rc == EXISTS && holder != me -> goto idle }
    fi;
#endif
    if
    :: atomic { !last }
    :: atomic { last && !FENCED_ALIVE }               /* a lease's time is over */
        if
        :: atomic { n + 1 < NUMBERS && LATER -> released[n] = true; goto idle }
        :: atomic { !(n + 1 < NUMBERS && LATER) ->
            COUNT;
            if
            :: rc > TRIES -> rc = 0; goto give_up     /* this one is among them */
            :: else -> rc = 0
            fi
        }
        fi
    :: atomic { last && end != 0 -> goto over }
    :: atomic { last && n + 1 < NUMBERS && attempt[n + 1] -> released[n] = true; goto idle }
    :: atomic { last && DEATH; goto idle }
    fi;
    if
    :: atomic { n + 1 < NUMBERS && attempt[n + 1] -> released[n] = true; goto idle } /* FENCED: looks are now and then */
    :: atomic { end != 0 -> goto over }
#if defined(POISON)
    :: atomic { crashes++; HOLDS(tried_no_more, crashes <= TRIES); died = true; goto crashed }
#else
    :: atomic { true }
#endif
    :: atomic { DEATH; goto idle }                    /* the worker dies */
    :: atomic { DEATH; goto crashed }                 /* its child does */
    :: atomic { TROUBLE; released[n] = true; goto hand_over }
    fi;
#if defined(BUG_END_BEFORE_MANIFEST)
    create_end(FINISHED, n);
#endif
    atomic { HOLDS(final, end != FINISHED || end_n != n || files[n] == 0); HOLDS(one_worker, owner_of[n] == me); files[n] = me }
    atomic { HOLDS(final, end != FINISHED || end_n != n || files[n] == me); HOLDS(one_worker, owner_of[n] == me); manifest[n] = me }
    if
    :: atomic { n + 1 < NUMBERS && attempt[n + 1] -> released[n] = true; goto idle }
    :: atomic { true }
    :: atomic { DEATH; goto idle }
    fi;
    create_end(FINISHED, n);
    goto ended;
crashed:
#if defined(BUG_CRASH_IS_RELEASED)
    atomic { released[n] = true };
#endif
    atomic {
        if
        :: n + 1 < NUMBERS && LATER -> goto idle
        :: else
        fi;
        COUNT;
        if
        :: rc >= TRIES -> rc = 0
        :: else -> rc = 0; goto again
        fi
    }
give_up:
    create_end(FAILED, n);
ended:
    if
    :: atomic { rc == PEER -> goto again }
    :: atomic { rc == OK }
    fi;
    settle();
over:
    atomic { holder = (holder == me -> 0 : holder); goto idle }
hand_over: /* put_behind: two calls, or released as `again` does */
    if
    :: atomic { holder == me -> holder = 0 }
        if
        :: atomic { push(); goto idle }
        :: atomic { TROUBLE; goto idle }
        fi
    :: atomic { holder != me -> goto idle }
    :: atomic { true }
    fi;
again:
    atomic {
        if
        :: holder == me -> holder = 0; queued = true
        :: else
        fi;
        goto idle
    }
}

/* --- the rest --- */

active proctype Sweep()
{
end_sweep:
#if !defined(BUG_NO_SWEEP)
    do
    :: atomic { open && end != 0 }
        settle()
#if defined(BUG_SWEEP_TIDIES)
    :: atomic { open && end == 0 && !job }
        open = false
#endif
    :: atomic { open && end == 0 && job && !attempt[1] && !queued && holder == 0 }
        atomic { push() }
    :: atomic { open && end == 0 && job && attempt[1] && !queued && holder == 0 && !at_it[1] && !at_it[2] }
        if
        :: atomic { end == 0 -> push() }
        :: atomic { end != 0 }
        fi
    :: atomic { open && end == 0 && job && attempt[1] && !queued && holder == 0 && (at_it[1] || at_it[2]) && TROUBLE }
        if
        :: atomic { end == 0 -> push() }
        :: atomic { end != 0 }
        fi
    od
#else
    false
#endif
}

active proctype Redis()
{
end_redis:
    do
    :: atomic { holder != 0 && !at_it[holder] -> holder = 0; queued = true }
    :: atomic { holder != 0 && at_it[holder] && TROUBLE; holder = 0; queued = true }
    :: atomic { (holder != 0 || queued) && TROUBLE; holder = 0; queued = false;
#if defined(BUG_TOKEN_FROM_REDIS)
        token = 0
#endif
    }
    :: atomic { wire_end != 0 ->
        if
        :: FREE(wire_end) -> end_lands(wire_end, wire_n)
        :: else
        fi;
        wire_end = 0; wire_n = 0
    }
    od
}

active proctype Publisher()
{
    bool tells;

end_publisher:
    do
    :: atomic {
        done -> done = false;
        tells = end == FINISHED;
        if
        :: tells && events == 0 -> events++; HOLDS(event_is_whole, files[end_n] == manifest[end_n])
        :: else
        fi;
        HOLDS(event_if_finished, events == 0 || end == FINISHED)
    }
        if
        :: atomic { tells -> open = false; tells = false }
        :: atomic { !tells }
        :: atomic { tells && TROUBLE; tells = false } /* it dies before the marker goes */
        fi
    od
}

active proctype User()
{
    asked = 1;
end_user:
    if
#if !defined(NO_CANCEL)
    :: atomic { true; asked = 2 }
#endif
    :: atomic { true }
    fi
}

CLOCK

ltl ends { <> [] (end != 0 && !open && (end != FINISHED || events == 1)) }
ltl remembered { [] (!job || end != 0 || open) }
