/* The llm room: tokenized examples, and rows of them for a run. */
#ifndef HONE_SRC_LLM_DATA_H
#define HONE_SRC_LLM_DATA_H

#include "llm/llm.h"

struct hone_llm_data {
    hone_ctx *ctx;
    hone_tokens tokens; /* all examples, one after the other */
    size_t *start;      /* [examples + 1] into tokens */
    size_t examples, start_capacity;
    int64_t max_seq_length, truncated, empty, blank, longest, trained;
    char why_empty[240]; /* of the first of those; "": there is none, or its text is too short */
};

static inline int64_t hone__example_length(const hone_llm_data *data, int64_t i)
{
    return (int64_t)(data->start[i + 1] - data->start[i]);
}

/* Rows for the model: which examples lie in which row. Built anew each epoch from an order of examples. */
typedef struct hone__packing {
    hone_ctx *ctx;
    int64_t length;     /* tokens a row; without packing: the longest example of the batch, rounded up */
    int64_t rows;
    int64_t *example;   /* examples, row by row */
    int64_t *row_start; /* [rows + 1] into example */
} hone__packing;

/* First fit into rows of `length` tokens, at most 64 open at a time, examples in the given order; or, one_each, a row an
   example. Examples with nothing to learn from are left out. */
hone_status hone__pack(const hone_llm_data *data, const int64_t *order, int64_t count, int64_t length, bool one_each,
                       hone__packing *packing);
void hone__packing_free(hone__packing *packing);

/* A batch [rows, length] of i32: tokens, positions (from 0 in each example), begin (where the example began: attention
   does not look further back) and targets (the next token where it is trained, else -1). */
typedef struct hone__batch {
    hone_tensor *tokens, *positions, *begin, *targets;
    int64_t trained, used; /* targets; tokens that are no padding */
} hone__batch;
/* Rows [first, first + rows) of the packing; rows beyond its end are all padding. */
hone_status hone__batch_make(const hone_llm_data *data, const hone__packing *packing, int64_t first, int64_t rows,
                             int64_t length, hone__batch *batch);
void hone__batch_free(hone__batch *batch);
/* Tokens a row must have for these rows: the packing's length, or the longest one's, a multiple of 16. */
int64_t hone__batch_length(const hone_llm_data *data, const hone__packing *packing, int64_t first, int64_t rows, bool one_each);

/* The loss as a recorded computation: hidden states against targets. evaluate.c and finetune.c */
hone_node *hone__llm_hidden(hone_llm *llm, hone_graph *graph, hone_node *const *batch);

#endif
