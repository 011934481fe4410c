/*
 * A docs topic that is deleted and made anew, and grows: docs/protocol.md, "Ingest: a chain".
 *
 *   Producer    records, offsets without one (transaction markers), retention, a record that compaction
 *               takes; it may stop anywhere
 *   Operator    perhaps makes the topic anew, at any moment
 *   Ingester    ingest/place.c place and wait_short (find), place_compare (compare), place_watch (quiet);
 *               ingest/commit.c complete and confirm (cut); ingest/intake.c (reading)
 *
 * Kafka tells no topic from its successor: offsets begin at 0 again, and the consumer reads on where it
 * was. Only records tell, for those of two topics are never equal (time and hash). Each question to Kafka
 * is a step of its own. One ingester, no faults: chain.pml has those.
 *
 * Held by an assert: an incarnation begins only if the topic was made anew. Held by `present_taken`: each
 * record that the topic has now is in a segment in the end.
 */
#ifndef N
#define N 3 /* offsets 0 .. N - 1 */
#endif
#ifndef LOW
#define LOW 1 /* how far retention gets */
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

/* S3: the newest incarnation's chain, and what is in any segment */
byte next, has[3], taken[3]; /* by life */
byte last, last_life;        /* the chain's last record: offset + 1; 0: none */

hidden byte at;

/* at = the first record from `offset` on; N: none */
inline read_at(offset)
{
    at = (offset < low -> low : offset);
    do
    :: at < N && !(rec & BIT(at)) -> at++
    :: else -> break
    od
}

inline compare(upto)
{
    atomic {
        is = UNPROVEN;
        oldest = true;
        if
        :: last ->
            read_at(last - 1);
            if
            :: at == last - 1 -> is = (life == last_life -> SAME : NEW); oldest = false
            :: at > last - 1 && at < next -> is = (has[life] & BIT(at) -> SAME : NEW); oldest = false
            :: else
#if defined(BUG_ABSENT_IS_NEW)
                is = NEW; oldest = false
#elif defined(BUG_LAST_RECORD_ONLY)
                oldest = false
#endif
            fi
        :: else
        fi;
        at = 0
    };
    if
    :: atomic { oldest ->
        read_at(0);
        if
        :: at == N
        :: at < next -> is = (has[life] & BIT(at) -> SAME : NEW)
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

/* base.json */
inline begin_incarnation()
{
    HOLDS(only_if_made_anew, life == 2);
    next = 0;
    has[1] = 0;
    has[2] = 0;
    last = 0;
    last_life = 0
}

active proctype Ingester()
{
    byte pos, open[3], is, gone;
    bool oldest;

find:
    atomic { open[1] = 0; open[2] = 0; is = 0; pos = next; gone = low }
    if
    :: atomic { high < next }
        if /* time goes by */
        :: atomic { high < next -> begin_incarnation(); goto find }
        :: atomic { high >= next -> goto find }
        fi
    :: atomic { high >= next }
    fi;
    compare(next);
    if
    :: atomic { is == NEW -> begin_incarnation(); goto find }
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
        atomic {
            has[1] = has[1] | open[1];
            has[2] = has[2] | open[2];
            taken[1] = taken[1] | open[1];
            taken[2] = taken[2] | open[2];
            at = pos;
            do
            :: at > next && !((open[1] | open[2]) & BIT(at - 1)) -> at--
            :: else -> break
            od;
            if
            :: at > next -> last = at; last_life = (open[2] & BIT(at - 1) -> 2 : 1)
            :: else
            fi;
            at = 0;
            next = pos;
            open[1] = 0;
            open[2] = 0
        }
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

#define LEFT(l) (life == l && (rec & ~UPTO(low) & ~taken[l]) != 0)

ltl present_taken { <> [] !(LEFT(1) || LEFT(2)) }
