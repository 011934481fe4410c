/*
 * Bugs that a test can plant, to show that it would notice them. PLANTED(NAME)
 * is false in every build but the simulation's own, which compiles the services
 * with TRIPLINE_PLANTS and plants at most one at a time.
 */
#ifndef PLATFORM_BASE_PLANT_H
#define PLATFORM_BASE_PLANT_H

#ifdef TRIPLINE_PLANTS

/* Spelled as in tests/model where the model has it, too. */
#define PLANTS(X)                                                                                  \
    /* ingest */                                                                                   \
    X(COMMIT_BEFORE_CREATE) /* the offset first, and believed */                                   \
    X(OVERWRITE)            /* segments are put, not created */                                    \
    X(412_IS_A_WIN)         /* who loses a create goes on as if it had won */                      \
    X(MISSING_SILENT)       /* what Kafka no longer has is skipped */                              \
    X(COPY_AFTER_CREATE)    /* a segment is created before the copies of its rejections */         \
    X(RECREATED_UNSEEN)     /* the chain's last record is not compared */                          \
    X(CHAIN_NOT_REREAD)     /* what is remembered of a chain is believed */

enum plant {
    PLANT_NONE,
#define X(name) PLANT_##name,
    PLANTS(X)
#undef X
        PLANTS_COUNT
};
extern enum plant plant_now;
#define PLANTED(name) (plant_now == PLANT_##name)

#else
#define PLANTED(name) 0
#endif

#endif
