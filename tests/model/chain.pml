/*
 * The segment chain of one partition: docs/protocol.md, "Ingest: a chain".
 *
 *   Producer    a producer and Kafka: records that will be accepted, that will be rejected, offsets
 *               without a record (transaction markers); retention moves the low watermark
 *   Ingester    ingest/chain.c chain_find (find), ingest/place.c start and note_missing (start),
 *               ingest/intake.c misplaced and ingest/admit.c (reading), ingest/commit.c commit_cut (cut),
 *               commit_put (put), created, lost
 *   Network     a create whose caller gave up waiting, and that arrives all the same
 *
 * Two ingesters believe at all times that the partition is theirs. That is more than any rebalance
 * does: whatever the group's protocol, it can only take some of these behaviours away. Losing the
 * partition is the death of one: the buffer is gone, the chain is looked for again. The committed
 * offset is a hint where a listing begins, so chain_find may begin at any segment that there is.
 *
 * Held by asserts in check(), at each create: a segment is reached from the begin of the chain; each
 * record of its range is in exactly one of its three lists, the right one, and in no other segment; what
 * is stated as missing was gone from Kafka; a rejected record was copied to the owner's topic first. Held by `all_taken`: each record that was
 * acknowledged is in a list in the end.
 */
#ifndef N
#define N 3 /* offsets 0 .. N - 1 */
#endif
#ifndef LOW
#define LOW 1 /* how far retention gets */
#endif
#ifndef GOOD
#define GOOD 5 /* bits: offsets with a record that will be accepted */
#define BAD  2 /* rejected; neither: an offset without a record */
#endif
#include "store.pml"

#define NOBODY 2
#define BIT(o) (1 << (o))
#define UPTO(o) (BIT(o) - 1)
#define RANGE(a, b) (UPTO(b) & ~UPTO(a) & 255)

typedef segment {
    byte next; /* 0: there is no such segment */
    byte accepted, rejected, missing;
};

segment seg[N + 1];
byte low, high, good, bad; /* the partition */
byte copies;               /* rejected records that are on rejected.<owner> */
byte taken;                /* what is in a list */
bool landed[2];
segment wire;
byte wire_first, wire_from = NOBODY;
#if defined(BUG_COMMIT_BEFORE_CREATE)
byte committed;
#endif

/* What a create is about to write; of no interest between two steps. */
hidden byte f, to, fa, fr, fm, o, linked;

inline check()
{
    o = 0;
    linked = f == 0;
    do
    :: o < N ->
        if
        :: seg[o].next == f -> linked = true
        :: else
        fi;
        if
        :: o != f && seg[o].next ->
            HOLDS(in_one_segment, ((seg[o].accepted | seg[o].rejected | seg[o].missing) & (fa | fr | fm)) == 0);
            HOLDS(no_overlap, seg[o].next <= f || to <= o)
        :: else
        fi;
        o++
    :: else -> break
    od;
    HOLDS(reached, linked);
    /* what was taken behind it is still reached: a create that replaces would cut it off */
    HOLDS(not_cut_off, (taken & RANGE(to, N)) == 0 || seg[to].next);
    HOLDS(nothing_else, (fa & ~good) == 0 && (fr & ~bad) == 0 && (fa & fm) == 0 && (fr & fm) == 0 &&
        ((fa | fr | fm) & ~RANGE(f, to)) == 0);
    HOLDS(whole_range, ((good | bad) & RANGE(f, to) & ~(fa | fr | fm)) == 0);
    HOLDS(missing_is_gone, (fm & ~UPTO(low)) == 0);
    HOLDS(copied_first, (fr & ~copies) == 0);
    o = 0;
    linked = false
}

inline place()
{
    check();
    seg[f].next = to;
    seg[f].accepted = fa;
    seg[f].rejected = fr;
    seg[f].missing = fm;
    taken = taken | fa | fr | fm
}

inline place_own()
{
    f = first;
    to = next;
    fa = accepted;
    fr = rejected;
    fm = missing;
    place()
}

inline drop()
{
    accepted = 0;
    rejected = 0;
    missing = 0;
    landed[me] = false;
    if
    :: wire_from == me -> wire_from = NOBODY
    :: else
    fi
}

#if defined(BUG_OVERWRITE)
#define FREE(f) true
#define TAKEN(f) false
#else
#define FREE(f) (seg[f].next == 0)
#define TAKEN(f) (seg[f].next != 0)
#endif

/* blob_create */
inline create()
{
    atomic {
        if
        :: FREE(first) -> place_own(); rc = OK
        :: TAKEN(first) && landed[me] -> rc = OK
#if defined(BUG_412_IS_A_WIN)
        :: TAKEN(first) && !landed[me] -> rc = OK
#else
        :: TAKEN(first) && !landed[me] -> rc = EXISTS
#endif
        :: FREE(first) && FAULT; place_own(); landed[me] = true; rc = PEER
        :: FAULT; rc = PEER
        :: wire.next == 0 && FAULT; wire_first = first; wire_from = me; wire.next = next;
            wire.accepted = accepted; wire.rejected = rejected; wire.missing = missing; rc = PEER
        fi
    }
}

active [2] proctype Ingester()
{
    byte me = _pid, first, next, accepted, rejected, missing, rc;

find:
    atomic {
#if !defined(BUG_KEEP_BUFFER)
        drop();
#endif
#if defined(BUG_COMMIT_BEFORE_CREATE)
        first = committed
#else
        first = 0;
        do
        :: break
        :: seg[first].next != 0 -> first = seg[first].next
        od
#endif
    }
    do
    :: atomic { seg[first].next != 0 -> first = seg[first].next }
    :: atomic {
        seg[first].next == 0 ->
#if defined(BUG_LOSER_READS_ON) || defined(BUG_KEEP_BUFFER)
        if
        :: next < first -> next = first
        :: else
        fi;
#else
        next = first;
#endif
        if
        :: low > next ->
#if defined(BUG_MISSING_TOO_MUCH)
            missing = missing | RANGE(next, high);
            next = high
#else
#if !defined(BUG_MISSING_SILENT)
            missing = missing | RANGE(next, low);
#endif
            next = low
#endif
        :: else
        fi;
        break
    }
    od;
    do
    :: atomic {
        next >= low && next < high ->
        accepted = accepted | (good & BIT(next));
        rejected = rejected | (bad & BIT(next));
        next++
    }
    :: atomic { next < low && next == first -> goto find }
    :: next > first -> /* by bytes, count, age, a seal, or because the position is gone */
#if !defined(BUG_COPY_AFTER_CREATE)
        copies = copies | rejected;
#endif
#if defined(BUG_COMMIT_BEFORE_CREATE)
        committed = next;
#endif
        do
        :: create();
            if
            :: atomic { rc != PEER -> break }
            :: else
            fi
        :: atomic { FAULT; rc = 0; goto find }
        od;
        if
        :: atomic {
            rc == OK ->
            rc = 0;
            drop();
            first = next
        }
        :: atomic { rc == EXISTS -> rc = 0; goto find }
        fi;
#if defined(BUG_COPY_AFTER_CREATE)
        copies = bad & UPTO(next);
#endif
    :: atomic { FAULT; goto find }
    :: atomic { next == N && first == N -> break }
    od
}

active proctype Producer()
{
    do
    :: atomic {
        high < N ->
        good = good | (GOOD & BIT(high));
        bad = bad | (BAD & BIT(high));
        high++
    }
    :: atomic { low < high && low < LOW -> low++ }
    :: atomic { high == N -> break }
    od
}

active proctype Network()
{
end:
    do
    :: atomic {
        wire.next != 0 ->
        if
        :: seg[wire_first].next == 0 ->
            f = wire_first; to = wire.next; fa = wire.accepted; fr = wire.rejected; fm = wire.missing;
            place();
            if
            :: wire_from != NOBODY -> landed[wire_from] = true
            :: else
            fi
        :: else
        fi;
        wire.next = 0; wire.accepted = 0; wire.rejected = 0; wire.missing = 0;
        wire_first = 0; wire_from = NOBODY
    }
    od
}

CLOCK

ltl all_taken { <> (high == N && taken == ((good | bad) | (taken & UPTO(low)))) }
