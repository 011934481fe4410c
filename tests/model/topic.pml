/*
 * A docs topic that is deleted and made anew, and grows: docs/protocol.md, "Ingest: a chain".
 *
 *   Producer    records, offsets without one (transaction markers), retention, a record that compaction
 *               takes; it may stop anywhere
 *   Operator    perhaps makes the topic anew, at any moment
 *   Ingester    ingest/place.c place and wait_short (find), begin (renew), place_compare (compare), place_watch
 *               (quiet); ingest/commit.c complete and confirm (cut), commit_put (append); ingest/intake.c (reading);
 *               one, or two that both believe in the partition
 *
 * Kafka tells no topic from its successor: offsets begin at 0 again, and the consumer reads on where it
 * was. Only records tell, for those of two topics are never equal (time and hash). Each question to Kafka
 * is a step of its own. The only fault is a death between the closing of a chain and the begin of the next
 * incarnation: chain.pml has the others.
 *
 * Held by asserts: an incarnation begins only if the topic was made anew; no record is in two of them. Held
 * by `present_taken`: each record that the topic has now is in a segment in the end.
 */
#ifndef N
#define N 3 /* offsets 0 .. N - 1 */
#endif
#ifndef LOW
#define LOW 1 /* how far retention gets */
#endif
#ifndef INGESTERS
#define INGESTERS 1
#endif
#include "store.pml"

#define BIT(o) (1 << (o))
#define UPTO(o) (BIT(o) - 1)

#define SAME     0
#define NEW      1
#define SHORTER  2
#define UNPROVEN 3

/* Kafka */
byte life = 1;        /* of the topic that is there */
byte high, low, rec;  /* rec: bits of offsets with a record */

/* S3: the chain of each incarnation */
byte tail[2];           /* the next offset */
bool closed[2];
byte has1[2], has2[2]; /* records of the topic's first and second life */
bool begun;            /* the base.json of incarnation 1 */

#define HAS(i, l) (l == 1 -> has1[i] : has2[i])

hidden byte at, last;

/* at = the first record from `offset` on; N: none */
inline read_at(offset)
{
    at = (offset < low -> low : offset);
    do
    :: at < N && !(rec & BIT(at)) -> at++
    :: else -> break
    od
}

/* last = the last record of the ingester's chain: offset + 1; 0: none */
inline find_last()
{
    last = next;
    do
    :: last > 0 && !((has1[inc] | has2[inc]) & BIT(last - 1)) -> last--
    :: else -> break
    od
}

inline compare(upto)
{
    atomic {
        is = UNPROVEN;
        oldest = true;
        find_last();
        if
        :: last ->
            read_at(last - 1);
            if
            :: at == last - 1 -> is = (HAS(inc, life) & BIT(at) -> SAME : NEW); oldest = false
            :: at > last - 1 && at < next -> is = (HAS(inc, life) & BIT(at) -> SAME : NEW); oldest = false
            :: else
#if defined(BUG_ABSENT_IS_NEW)
                is = NEW; oldest = false
#elif defined(BUG_LAST_RECORD_ONLY)
                oldest = false
#endif
            fi
        :: else
        fi;
        at = 0;
        last = 0
    };
    if
    :: atomic { oldest ->
        read_at(0);
        if
        :: at == N
        :: at < next -> is = (HAS(inc, life) & BIT(at) -> SAME : NEW)
#if !defined(BUG_CHAIN_ALONE)
        :: at < N && at >= next && at < upto -> is = (open[life] & BIT(at) -> SAME : NEW)
#endif
        :: else
        fi;
        at = 0;
        oldest = false
    }
    :: atomic { !oldest }
    fi;
    if
    :: atomic { is != SAME && high < upto -> is = SHORTER }
    :: atomic { is == SAME || high >= upto }
    fi
}

/* The conditional create of the chain's next segment decides who goes on, and where. */
#define WON (tail[inc] == next && !closed[inc])

/* The closing segment, then base.json. */
inline renew()
{
#if !defined(BUG_NOT_CLOSED)
    if
    :: atomic { WON -> closed[inc] = true }
    :: atomic { !WON -> goto find }
    fi;
#endif
    if
    :: atomic { true ->
        HOLDS(only_if_made_anew, life == 2 && inc == 0);
        begun = true;
        goto find
    }
    :: atomic { FAULT; goto find }
    fi
}

active [INGESTERS] proctype Ingester()
{
    byte inc, next, pos, open[3], is, gone;
    bool oldest;

find:
    atomic {
        open[1] = 0;
        open[2] = 0;
        next = 0;
        pos = 0;
        gone = 0;
        is = 0;
        if
        :: begun -> inc = 1
        :: else
        fi
    };
    atomic { next = tail[inc]; pos = next; gone = low };
    if
    :: atomic { closed[inc] -> HOLDS(only_if_made_anew, inc == 0); begun = true; goto find }
    :: atomic { !closed[inc] && high < next }
        if /* time goes by */
        :: atomic { high < next } -> renew()
        :: atomic { high >= next -> goto find }
        fi
    :: atomic { !closed[inc] && high >= next }
    fi;
    compare(next);
    if
    :: atomic { is == NEW } -> renew()
    :: atomic { is == SHORTER -> goto find }
    :: atomic { is == SAME || is == UNPROVEN -> is = 0; pos = (gone > next -> gone : next); gone = 0 }
    fi;
end_reading:
    do
    :: atomic { pos < high && pos >= low ->
        if
        :: rec & BIT(pos) ->
            open[life] = open[life] | BIT(pos)
        :: else
        fi;
        pos++
    }
    :: pos > next ->
#if !defined(BUG_NOT_COMPARED_AT_CUT)
        compare(pos);
        if
        :: atomic { is == NEW || is == SHORTER -> goto find }
        :: atomic { is == SAME || is == UNPROVEN -> is = 0 }
        fi;
#endif
        if
        :: atomic { WON ->
            HOLDS(in_one_incarnation, !(open[1] & has1[1 - inc]) && !(open[2] & has2[1 - inc]));
            has1[inc] = has1[inc] | open[1];
            has2[inc] = has2[inc] | open[2];
            next = pos;
            tail[inc] = next;
            open[1] = 0;
            open[2] = 0
        }
        :: atomic { !WON -> goto find }
        fi
    :: atomic { pos == next && (pos > high || pos < low) -> goto find } /* misplaced */
#if !defined(BUG_NO_WATCH)
    :: atomic { pos == next && pos == high } /* quiet */
        compare(next);
        if
        :: atomic { is == NEW || is == SHORTER -> goto find }
        :: atomic { is == SAME || is == UNPROVEN -> is = 0 }
        fi
#endif
    od
}

active proctype Producer()
{
end:
    do
    :: atomic { high < N -> rec = rec | BIT(high); high++ }
    :: atomic { high < N -> high++ }
    :: atomic { low < high && low < LOW -> low++ }
#if defined(COMPACTED)
    :: atomic { rec & BIT(COMPACTED) -> rec = rec & ~BIT(COMPACTED) }
#endif
    :: break
    od
}

active proctype Operator()
{
    if
    :: atomic { life = 2; high = 0; low = 0; rec = 0 }
    :: atomic { true }
    fi
}

CLOCK

#define LEFT(l) (life == l && (rec & ~UPTO(low) & ~(has##l[0] | has##l[1])) != 0)

ltl present_taken { <> [] !(LEFT(1) || LEFT(2)) }
