/*
 * What the models share: the answers of a store, and the faults that may still come.
 *
 * A conditional create is one step of the store. What goes wrong is its answer: it may be lost before
 * the effect or behind it. Then the caller tries again and meets 412; it reads the object and compares
 * nonces. A model needs no nonces for that: `landed` says that the object which is there is the
 * caller's own, which is just what the comparison finds out. Objects that are created so never change,
 * so that reading one is a single step, too.
 *
 * Every process may stop between two of its steps for as long as it likes: a zombie needs no code of
 * its own. Faults (deaths, lost answers, expired leases, FLUSHALL) are counted down from FAULTS:
 * safety is checked for every place where so many can strike, liveness says what follows when they
 * are over.
 */
#ifndef FAULTS
#define FAULTS 2
#endif

#define OK     0
#define EXISTS 1 /* another's */
#define PEER   2 /* no answer */

byte faults = FAULTS;

/*
 * An assert with a name, by which docs/protocol.md speaks of it. Of a planted bug one invariant alone is
 * asked whether it finds it: scripts/model.sh makes ONLY of its HOLDS then.
 */
#if defined(ONE)
#define HOLDS(name, condition) skip
#define ONLY(condition)        assert(condition)
#else
#define HOLDS(name, condition) assert(condition)
#endif

#define FAULT faults > 0 -> faults--

/*
 * Time goes on when nothing else does. Without it a state in which all wait for ever is no cycle to
 * spin's search under weak fairness, and no liveness property would ever fail there. At a model's end,
 * where it disturbs no process's number.
 */
#if defined(LIVE)
#define CLOCK active proctype Clock() { bool tick; end_clock: do :: tick = 1 - tick od }
#else
#define CLOCK
#endif
