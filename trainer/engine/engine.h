/*
 * The engine: a backbone (ONNX, fp32) opened, cut, pooled, run forward and
 * backward on packed text, stepped, saved, exported. The one header that
 * outsiders include. An engine belongs to one thread; it uses the backend's
 * threads inside. Matrices are row-major float.
 *
 *   engine_open -> (engine_forward, engine_backward)* engine_step ... -> engine_export ->
 * engine_free
 */
#ifndef TRAINER_ENGINE_ENGINE_H
#define TRAINER_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "platform/base/buf.h"
#include "platform/base/err.h"
#include "trainer/engine/backend/backend.h"
#include "trainer/engine/op/op.h"

struct engine;

/* What is done to the backbone. Zeroed + surgery_init: found head, mean pooling, normalised,
 * nothing frozen. */
struct surgery {
    const char *cut; /* name of the tensor to cut at; NULL: found (last tensor before classifier or
                        pooler) */
    enum pool pool;
    float gem_power, gem_eps; /* 3, 1e-6 */
    int output_dim; /* 0: no projection; else a linear layer (C, output_dim) with bias behind the
                       pooling */
    bool normalize;
    int freeze_layers;  /* the first so many blocks; embeddings are frozen with them when > 0; -1:
                           all but the projection */
    const char *freeze; /* comma-separated name patterns (fnmatch), NULL: none */
    uint64_t seed;      /* of the projection's weights */
};
void surgery_init(struct surgery *s);

struct engine_options {
    const char *backend; /* NULL: "cpu" */
    const char *isa;     /* NULL: the best this machine has */
    int threads;         /* 0: the machine's */
    int lanes;           /* 0: 2. The job's, not the machine's: results depend on it */
    bool train;          /* false: no gradients, no moments, less memory */
};

struct engine_info {
    int dim;          /* of an embedding */
    int hidden;       /* C of the cut tensor */
    int layers;       /* blocks, as a person would count them */
    int max_tokens;   /* positions the backbone has (0: no limit known) */
    int vocabulary;   /* rows of the token table */
    int heads;        /* of an attention; 0: none found */
    int inner;        /* widest linear layer of a block; 0: none found */
    bool wants_types; /* the backbone takes token_type_ids */
    size_t parameters, trainable;
    const char *cut;         /* the tensor that was cut at */
    const char *fingerprint; /* engine version, oneDNN version, instruction set, backend */
};

/* A batch of documents as packed tokens; the caller keeps the memory. */
struct token_batch {
    int count;              /* N documents */
    const int32_t *offsets; /* N + 1 */
    const int32_t *ids;     /* offsets[N] token ids */
    const int32_t *types;   /* token type ids; NULL: all 0 */
};

/* `path` is a model.onnx. ERR_FORMAT, ERR_UNSUPPORTED (names the operator and node), ERR_LIMIT,
 * ERR_IO. */
int engine_open(struct engine **out, const char *path, const struct surgery *,
                const struct engine_options *, struct err *e);
void engine_free(struct engine *);
/* Would engine_open understand the model, at its defaults? Reads the graph, no weights; its errors.
 */
int engine_check(const char *path, struct err *e);
const struct engine_info *engine_info(const struct engine *);
struct backend *engine_backend(struct engine *); /* borrowed: losses run on it */

/* out (N, dim). Ids are checked: ERR_FORMAT names the document and the token. Keeps nothing. */
int engine_encode(struct engine *, const struct token_batch *, float *out, struct err *e);

/* As encode, and keeps what backward needs. */
int engine_forward(struct engine *, const struct token_batch *, float *out, struct err *e);
/* d_out (N, dim): gradient of the loss by the last forward's embeddings; adds to the gradients. */
int engine_backward(struct engine *, const float *d_out, struct err *e);
/* Euclidean norm of all gradients now (over lanes summed). */
double engine_gradient_norm(struct engine *);

struct engine_step {
    struct optim optim; /* step is filled in by the engine */
    float lr;
    float decay;
    bool decay_all;    /* false: biases and norms don't decay */
    float layer_decay; /* 1: none; lr of block l is lr * layer_decay^(layers - l) */
    float clip;        /* maximal gradient norm; 0: none */
};
/* One optimiser step with the gradients so far, which are then zero. *norm: before clipping. */
int engine_step(struct engine *, const struct engine_step *, double *norm, struct err *e);

/* Puts a copy of the trained parameters aside (as much memory as they have), in place of an older
 * one. */
int engine_keep(struct engine *, struct err *e);
/* The parameters that were put aside are the model's again; moments and step stay as they are. */
int engine_restore(struct engine *, struct err *e);

/* Parameters, moments, step, parameters put aside: a stream that engine_load of the same model and
 * surgery reads back bit by bit. */
int engine_save(struct engine *, FILE *to, struct err *e);
int engine_load(struct engine *, FILE *from, struct err *e);
/* SHA-256 of what engine_save would write: equal ones will give equal steps. */
int engine_digest(struct engine *, char hex[65], struct err *e);

/* The model with its pooling and normalisation inside, in the backbone's own opset. Written whole
 * or not at all. */
int engine_export(struct engine *, const char *path, struct err *e);

/* The projection's weight (dim, hidden) and bias (dim), borrowed until the next step; false: there
 * is none. */
bool engine_projection(const struct engine *, const float **weight, const float **bias);

/* What would be run at once: memory is planned for it. */
struct engine_batch {
    int documents, max_length; /* tokens of the longest document */
    int lanes;
};
/* What a person wants to know of a backbone, as one JSON object appended to `json`; docs/cli.md
 * lists its members. Errors as of engine_open. */
int engine_inspect(const char *path, const struct surgery *, const struct engine_batch *,
                   struct buf *json, struct err *e);

#endif
