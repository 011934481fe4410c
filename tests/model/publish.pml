/*
 * Publishing on one partition p: docs/protocol.md, "Publishing: one committed event".
 *
 *   Publisher    publisher/watch.c: assigned (idle), take_over and load (fence), part_restart (restart),
 *                give_up; publisher/announce.c: announce_message, announce_parked, publish, transact,
 *                finish, pass; publisher/parked.c parked_add
 *   Kafka        the group gives p to another; a commit that nobody waits for any more arrives; a dead
 *                process's transaction is aborted after its timeout
 *   Sweep        trainer/sweep.c sweep_run and trainer/job.c job_settle: `done` again while the marker
 *                is there
 *   Forger       who may write to `done` names a run that failed
 *   Operator     takes the owner's topic away and brings it back
 *
 * Run 0 is finished, run 1 failed. A publisher notices a rebalance when it polls and not before, so it
 * may be a zombie at each of its steps. Epochs and generations need no numbers: all that is asked of
 * them is whether mine is the newest.
 *
 * Held by asserts: no run has two events, a failed one has none, an event and its key on `published`
 * are there together. Held by `told`: the finished run has its event in the end, and its marker goes.
 */
#include "store.pml"

#ifndef GIVES
#define GIVES 3 /* times that the group gives p away */
#endif
#define RUNS 2
#define NOBODY 2
#ifndef LOG
#define LOG 3 /* messages of done[p] that fit */
#endif
#define IDLE 255
#define BIT(r) (1 << (r))

typedef transaction {
    bool open, sent; /* sent: its commit is on the way, and nobody waits for it */
    byte event, key, offset;
};

/* Kafka */
byte done[LOG], done_len, offset; /* of done[p], and what is committed of it */
byte next[2] = IDLE;                     /* where each publisher reads on */
byte events[RUNS], published;
transaction tx[2];
byte newest = NOBODY; /* the transactional id's newest epoch is this one's */
byte holder = NOBODY; /* of p, says the group */
bool member[2];       /* has the group's newest generation */

/* S3, and the owner's topic */
bool marker = true; /* of run 0 */
bool refused;

#if defined(BUG_NO_FENCING) || defined(VARIANT_ID_PER_PROCESS)
#define IS_NEWEST true
#define OPEN_PRODUCER wipe(me)
#else
#define IS_NEWEST (newest == me)
#define OPEN_PRODUCER newest = me; wipe(0); wipe(1)
#endif
#if defined(VARIANT_NO_GROUP)
#define IS_MEMBER true
#else
#define IS_MEMBER member[me]
#endif
/* bus_committed waits for transactions that would change the answer */
#if defined(BUG_NO_FENCING)
#define STABLE true
#else
#define STABLE (tx[1 - me].open == 0 || tx[1 - me].offset == 0)
#endif
#if defined(BUG_DONE_BELIEVED)
#define FINISHED true
#else
#define FINISHED (r == 0) /* what end.json says */
#endif
#if defined(BUG_KEY_AFTER_COMMIT) || defined(BUG_KEY_BEFORE_COMMIT)
#define KEY_INSIDE 0
#else
#define KEY_INSIDE 1
#endif

/* Nobody is at it: its timeout will come. */
#define DEAD(i) (next[i] == IDLE)

inline wipe(i)
{
    tx[i].open = false;
    tx[i].sent = false;
    tx[i].event = 0;
    tx[i].key = 0;
    tx[i].offset = 0
}

/* What a commit makes visible. */
inline apply(i)
{
    events[0] = events[0] + (tx[i].event & 1);
    events[1] = events[1] + (tx[i].event >> 1);
    published = published | tx[i].key;
    offset = (tx[i].offset -> tx[i].offset - 1 : offset);
    wipe(i);
    HOLDS(one_event, events[0] <= 1 && events[1] == 0);
    HOLDS(event_with_key, (events[0] == 1) == (published & 1))
}

active [2] proctype Publisher()
{
    byte me = _pid, known, r, ahead;
    bool parked, loaded;

idle:
    atomic { next[me] = IDLE; known = 0; r = 0; ahead = 0; parked = false; loaded = false }
end_idle:
    atomic { holder == me -> member[me] = true }
fence:
#if defined(BUG_READ_BEFORE_FENCE)
    known = published;
#endif
    atomic { OPEN_PRODUCER }                            /* step 1 */
    atomic { STABLE -> next[me] = offset }                  /* step 2 */
#if defined(BUG_PUBLISHED_NOT_READ) || defined(BUG_READ_BEFORE_FENCE)
    skip;
#elif defined(BUG_KNOWN_KEPT)
    atomic {
        if
        :: !loaded -> known = published; loaded = true
        :: else
        fi
    }
#else
    known = published;                                  /* step 3 */
#endif
end_read:
    do                                                  /* step 4 */
    :: atomic { next[me] < done_len -> r = done[next[me]]; ahead = 1 }
#if defined(BUG_MARKER_BEFORE_EVENT)
        marker = marker && r != 0;
#endif
        if
        :: atomic { known & BIT(r) }
            marker = marker && r != 0;
            goto pass
        :: atomic { !(known & BIT(r)) && !FINISHED -> goto pass }
        :: atomic {
            !(known & BIT(r)) && FINISHED && refused ->
            parked = true;
#if !defined(BUG_MARKER_BEFORE_EVENT)
            marker = true; /* run 0's: the other never comes here */
#endif
            goto pass
        }
        :: atomic { !(known & BIT(r)) && FINISHED && !refused }
        fi;
transact:
#if defined(BUG_KEY_BEFORE_COMMIT)
        published = published | BIT(r);
#endif
        if
        :: atomic { IS_NEWEST -> tx[me].open = true; tx[me].event = BIT(r); tx[me].key = KEY_INSIDE * BIT(r) }
        :: atomic { !IS_NEWEST -> goto restart }
        fi;
        if /* bus_send_offset */
        :: atomic { IS_NEWEST && tx[me].open && IS_MEMBER -> tx[me].offset = next[me] + ahead + 1 }
        :: atomic { !(IS_NEWEST && tx[me].open && IS_MEMBER) -> goto restart }
        fi;
        if /* bus_commit_transaction */
        :: atomic { IS_NEWEST && tx[me].open -> apply(me) }
        :: atomic { !(IS_NEWEST && tx[me].open) -> goto restart }
        :: atomic { IS_NEWEST && tx[me].open && FAULT; apply(me);
#if defined(BUG_LOST_COMMIT_AGAIN)
            goto transact
#else
            goto restart
#endif
        }
        :: atomic { IS_NEWEST && tx[me].open && FAULT; tx[me].sent = true; goto restart }
        :: atomic { FAULT; goto restart }
        fi;
#if defined(BUG_KEY_AFTER_COMMIT)
        if
        :: published = published | BIT(r)
        :: atomic { FAULT; member[me] = false; goto idle } /* it dies between the two */
        fi;
#endif
        atomic { known = known | BIT(r); next[me] = next[me] + ahead; parked = parked && ahead; ahead = 0 }
        if /* finish */
        :: atomic { marker = marker && r != 0; r = 0 }
        :: atomic { FAULT; goto restart }
        fi;
        goto poll;
pass: /* bus_commit, with the group's generation */
        if
        :: atomic { IS_MEMBER -> next[me]++; offset = next[me] }
        :: atomic { !IS_MEMBER -> goto restart }
        fi;
poll:
        atomic { r = 0; ahead = 0 }
    :: atomic { parked && !refused && !(known & 1) -> r = 0; ahead = 0; goto transact } /* announce_parked */
    :: atomic { parked && (known & 1) -> parked = false }
    :: atomic { !member[me] -> goto idle }              /* the poll says that p is lost */
    :: atomic { FAULT; member[me] = false; goto idle }  /* death, and another process in its place */
    od;
restart: /* the poll before step 1 may tell that p is lost; or p is lost just behind it */
    atomic { r = 0; ahead = 0 }
    if
    :: atomic { !member[me] -> goto idle }
    :: atomic { member[me] -> goto fence }
    :: atomic { !member[me] && FAULT; goto fence }
    fi
}

active proctype Kafka()
{
    byte gives = GIVES;

end:
    do
    :: atomic { gives > 0 || holder == NOBODY -> member[0] = false; member[1] = false; holder = 0;
        gives = (gives -> gives - 1 : 0) }
    :: atomic { gives > 0 || holder == NOBODY -> member[0] = false; member[1] = false; holder = 1;
        gives = (gives -> gives - 1 : 0) }
    :: atomic { tx[0].open && tx[0].sent -> apply(0) }
    :: atomic { tx[1].open && tx[1].sent -> apply(1) }
    :: atomic { tx[0].open && !tx[0].sent && DEAD(0) -> wipe(0) }
    :: atomic { tx[1].open && !tx[1].sent && DEAD(1) -> wipe(1) }
    :: atomic { tx[0].open && !DEAD(0) && FAULT; wipe(0) }
    :: atomic { tx[1].open && !DEAD(1) && FAULT; wipe(1) }
    od
}

/* One `done` is under way from the begin; the log has room for a few more. */
active proctype Sweep()
{
    byte i;

    atomic { done[0] = 0; done_len = 1 }
end:
    do
    :: atomic { marker && done_len < LOG -> done[done_len] = 0; done_len++ }
    :: atomic { /* what everybody is past needs no place: offsets are counted from it */
        done_len == LOG && offset > 0 && next[0] > 0 && next[1] > 0 && tx[0].offset != 1 && tx[1].offset != 1 ->
        i = 1;
        do
        :: i < LOG -> done[i - 1] = done[i]; i++
        :: else -> break
        od;
        i = 0;
        done_len--; done[done_len] = 0; offset--; next[0] = (next[0] == IDLE -> IDLE : next[0] - 1);
        next[1] = (next[1] == IDLE -> IDLE : next[1] - 1);
        tx[0].offset = (tx[0].offset -> tx[0].offset - 1 : 0);
        tx[1].offset = (tx[1].offset -> tx[1].offset - 1 : 0)
    }
    od
}

#if !defined(NO_FORGER)
active proctype Forger()
{
end:
    if
    :: atomic { done_len > 0 && done_len < LOG -> done[done_len] = 1; done_len++ }
    fi
}

#endif

active proctype Operator()
{
end:
    if
    :: atomic { refused = true }
        atomic { refused = false }
    fi
}

CLOCK

ltl told { <> [] (events[0] == 1 && !marker) }
