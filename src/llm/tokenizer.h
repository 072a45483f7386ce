/* The tokenizer, for the files that make, use and save one. */
#ifndef HONE_SRC_TOKENIZER_H
#define HONE_SRC_TOKENIZER_H

#include "base/base.h"
#include "hone/llm.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* Bounds on what a file may ask for: far beyond real models, small enough that nothing overflows or crawls.
   */
enum {
    HONE__MAX_TOKENS = 1 << 24,
    HONE__MAX_TOKEN_BYTES = 1 << 16,
    HONE__MAX_SPECIAL_BYTES =
        256, /* of a control or user-defined token: the cost of looking for one at a byte */
    HONE__MAX_SPLITS = 16
};

typedef struct hone__token {
    const char *text;  /* as in the vocabulary: byte alphabet, or plain for special ones */
    const char *bytes; /* what it decodes to; equal to text where nothing differs */
    uint32_t text_size, byte_count;
    uint8_t type;                 /* hone_token_type */
    bool left_strip, right_strip; /* swallows the white space beside it (added tokens of tokenizer.json) */
} hone__token;

typedef struct hone__merge {
    int32_t left, right, id;
} hone__merge;

typedef struct hone__merge_slot {
    uint64_t pair; /* left << 32 | right; UINT64_MAX: empty */
    uint32_t rank;
} hone__merge_slot;

typedef enum hone__split_kind { HONE__SPLIT_DIGITS, HONE__SPLIT_PATTERN, HONE__SPLIT_BYTES } hone__split_kind;

/* One step of pre-tokenization; cuts every piece of the step before it. */
typedef struct hone__split {
    hone__split_kind kind;
    bool individual;              /* DIGITS: each digit alone, not runs of them */
    bool use_regex, prefix_space; /* BYTES: GPT-2's pattern; a space before each piece that has none */
    bool literal;                 /* PATTERN: a plain string, not a regex */
    bool drop_matches, drop_gaps; /* PATTERN: behaviour Removed, without and with invert */
    const char *pattern;          /* PATTERN: as the file spells it */
    pcre2_code *code;             /* NULL: does not cut */
} hone__split;

struct hone_tokenizer {
    hone_ctx *ctx; /* of the allocations; retained */
    hone__arena arena;
    const char *source; /* the file, for messages */

    hone__token *tokens; /* [count] */
    size_t count, used;
    uint32_t *token_slots; /* open addressing by text: id + 1, 0 is empty */
    size_t token_mask;
    uint64_t hash_key; /* the tables' address: a file cannot be made to collide */

    hone__merge *merges; /* [merge_count], by rank */
    size_t merge_count;
    hone__merge_slot *merge_slots;
    size_t merge_mask;

    int32_t byte_id[256]; /* -1: not in the vocabulary */
    hone__split splits[HONE__MAX_SPLITS];
    int split_count;
    const char *pre; /* GGUF's name of the splits; NULL: none */
    pcre2_general_context *pcre;
    bool ignore_merges; /* a piece that is a token is that token, whatever the merges say */
    bool fuse_unknown;
    int32_t model_unknown; /* BPE's unk_token; -1: bytes without a token are left out */

    int32_t *specials; /* control, unknown and user-defined tokens, sorted bytewise by text */
    size_t special_count;
    uint32_t special_first[257]; /* those that begin with byte b: [special_first[b], special_first[b + 1]) */

    int32_t special[HONE_SPECIAL_COUNT];
    bool add_bos, add_eos, add_space_prefix;
    const char *chat_template;
};

/* ---- making one: new, splits, set every token, finish, add merges, finish_specials ---- */

/* Room for `count` tokens, none set. NULL on error (sticky). */
hone_tokenizer *hone__tokenizer_new(hone_ctx *ctx, const char *source, uint64_t count);
/* FORMAT when the id is out of range or set, or the text is another token's. */
hone_status hone__tokenizer_set(hone_tokenizer *tokenizer, int64_t id, const char *text, size_t size,
                                hone_token_type type);
/* After the last token: what each decodes to, the ids of the bytes, the special tokens. */
hone_status hone__tokenizer_finish_tokens(hone_tokenizer *tokenizer);
hone_status hone__tokenizer_reserve_merges(hone_tokenizer *tokenizer, uint64_t count);
/* Ranks count up from 0. FORMAT when a part or the whole is no token, or the pair came before. */
hone_status hone__tokenizer_add_merge(hone_tokenizer *tokenizer, const char *left, size_t left_size,
                                      const char *right, size_t right_size);
/* FORMAT, naming `key`, when id is no token. */
hone_status hone__tokenizer_set_special(hone_tokenizer *tokenizer, hone_special which, int64_t id,
                                        const char *key);
/* The end-of-turn token by its usual names, when nobody said which. */
void hone__tokenizer_find_end_of_turn(hone_tokenizer *tokenizer);
const char *hone__tokenizer_keep(hone_tokenizer *tokenizer, const char *text,
                                 size_t size); /* a copy, NUL behind */

/* UINT32_MAX: the pair does not merge. */
uint32_t hone__tokenizer_rank(const hone_tokenizer *tokenizer, int32_t left, int32_t right);

/* tokenizer.json and (NULL: absent) the texts of tokenizer_config.json, special_tokens_map.json,
   chat_template.jinja. */
hone_tokenizer *hone__tokenizer_from_json_text(hone_ctx *ctx, const char *source, const char *json,
                                               size_t size, const char *config, const char *map,
                                               const char *chat_template);

/* ---- pre-tokenization ---- */

/* The splits that GGUF calls `name`; UNSUPPORTED, with the known names, for others. */
hone_status hone__tokenizer_set_pre(hone_tokenizer *tokenizer, const char *name);
/* Appends a step and compiles it. FORMAT for a pattern that PCRE2 refuses. */
hone_status hone__tokenizer_add_split(hone_tokenizer *tokenizer, hone__split split);
/* Sets tokenizer->pre when GGUF has a name for the splits. */
void hone__tokenizer_name_splits(hone_tokenizer *tokenizer);
pcre2_general_context *hone__pcre_new(hone_ctx *ctx); /* PCRE2's memory comes from ctx */

/* ---- encoding ---- */

/* Appends one id, marked as trained. MEMORY (sticky). */
hone_status hone__tokens_add(hone_ctx *ctx, hone_tokens *tokens, int32_t id);
/* Appends bytes; false: MEMORY (sticky). */
bool hone__text_add(hone_ctx *ctx, hone_text *text, const void *data, size_t size);

/* hone_tokenizer_encode, and where each appended token lies in the text: span[2 * i], span[2 * i + 1]
   (begin, end in bytes; room for as many as there are tokens is made). spans NULL: not wanted. */
typedef struct hone__spans {
    size_t *at;
    size_t capacity;
} hone__spans;
hone_status hone__tokenizer_encode(hone_ctx *ctx, const hone_tokenizer *tokenizer, const char *text,
                                   size_t length, unsigned flags, hone_tokens *tokens, hone__spans *spans);

/* ---- UTF-8 and the byte alphabet ---- */

int hone__utf8_put(uint32_t code, char out[4]);
bool hone__is_space(uint32_t code); /* Unicode's White_Space */
/* GPT-2 spells byte b as a printable character: itself, or 256 + n for the n-th of the others. */
uint32_t hone__byte_to_code(uint8_t byte);
int hone__code_to_byte(uint32_t code); /* -1: not in the alphabet */

#endif
