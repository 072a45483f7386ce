/* Hone: language models: tokenizers, chat templates, sampling. Read after io.h. */
#ifndef HONE_LLM_H
#define HONE_LLM_H

#include "hone/base.h"
#include "hone/data.h"
#include "hone/io.h"
#include "hone/train.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- tokenizer: byte-level BPE as in GPT-2, Llama 3, Qwen 2, SmolLM ---------------------------------- */

/* Text to token ids and back. Read-only once made: many contexts may use one at the same time, each passing
   its own ctx for errors and scratch memory. */
typedef struct hone_tokenizer hone_tokenizer;

/* What a token is; the numbers are those of tokenizer.ggml.token_type in a GGUF file. */
typedef enum hone_token_type {
    HONE_TOKEN_NONE = 0,    /* the id is not used */
    HONE_TOKEN_NORMAL = 1,  /* reached by merging bytes */
    HONE_TOKEN_UNKNOWN = 2, /* stands for what the vocabulary cannot express */
    HONE_TOKEN_CONTROL = 3, /* structure, not text: <|im_start|>; found in text with HONE_ENCODE_SPECIAL */
    HONE_TOKEN_USER_DEFINED = 4, /* ordinary text that is never split: always found in text */
    HONE_TOKEN_UNUSED = 5,
    HONE_TOKEN_BYTE = 6
} hone_token_type;

/* The tokens with a role. */
typedef enum hone_special {
    HONE_SPECIAL_BOS, /* begins a text */
    HONE_SPECIAL_EOS, /* ends a text */
    HONE_SPECIAL_EOT, /* ends a turn of a chat: <|im_end|>, <|eot_id|>, ...; eos when there is none */
    HONE_SPECIAL_PAD, /* fills a batch */
    HONE_SPECIAL_UNK, /* what cannot be expressed */
    HONE_SPECIAL_COUNT
} hone_special;

/* Token ids, and which of them are trained. Zero-initialise it; calls append, so a loop may reuse one (set
   count to 0); hone_tokens_free at the end. */
typedef struct hone_tokens {
    int32_t *ids;     /* [count] */
    uint8_t *trained; /* [count], 1 where the token belongs to the loss (see hone_chat_encode) */
    size_t count, capacity;
} hone_tokens;
HONE_API void hone_tokens_free(hone_ctx *ctx, hone_tokens *tokens);

/* Bytes that grow, in the manner of hone_tokens; data is NUL-terminated when not NULL. */
typedef struct hone_text {
    char *data;
    size_t size, capacity; /* bytes, without and with the room behind */
} hone_text;
HONE_API void hone_text_free(hone_ctx *ctx, hone_text *text);

/* The tokenizer of a GGUF file (metadata tokenizer.ggml.*); nothing of the file is kept. NULL on error
   (sticky): FORMAT for damaged or contradictory metadata (names the key), UNSUPPORTED for a model other than
   gpt2 or an unknown pre-tokenizer (names the known ones), MEMORY. The result is the caller's. */
HONE_API hone_tokenizer *hone_tokenizer_from_gguf(hone_ctx *ctx, const hone_gguf *file);
/* The tokenizer of a Hugging Face folder: tokenizer.json, and when present tokenizer_config.json,
   special_tokens_map.json and chat_template.jinja (which wins over the template in tokenizer_config.json).
   An NFC normalizer is accepted but text is left as it is, as llama.cpp does (logged as a warning). Errors
   as above, and IO. */
HONE_API hone_tokenizer *hone_tokenizer_from_json(hone_ctx *ctx, const char *folder);
HONE_API void hone_tokenizer_free(hone_tokenizer *tokenizer); /* NULL is allowed */

/* Writes tokenizer.json, tokenizer_config.json and special_tokens_map.json into the folder (made when
   missing), such that `tokenizers` and transformers' AutoTokenizer give the same ids. Errors stick: IO,
   MEMORY, UNSUPPORTED for token texts that are not UTF-8. */
HONE_API hone_status hone_tokenizer_save_json(hone_ctx *ctx, const hone_tokenizer *tokenizer,
                                              const char *folder);
/* Sets every tokenizer.* key of a GGUF file that is being written, as llama.cpp expects them. The writer's
   errors, and UNSUPPORTED when GGUF has no name for the pre-tokenizer; they do not stick. */
HONE_API hone_status hone_tokenizer_write_gguf(hone_ctx *ctx, const hone_tokenizer *tokenizer,
                                               hone_gguf_writer *writer);

/* Ids run from 0 to size - 1. */
HONE_API int64_t hone_tokenizer_size(const hone_tokenizer *tokenizer);
/* The id with that role, -1: the tokenizer has none. */
HONE_API int32_t hone_tokenizer_special(const hone_tokenizer *tokenizer, hone_special which);
/* Does generation stop at this id (eos, eot)? */
HONE_API bool hone_tokenizer_is_end(const hone_tokenizer *tokenizer, int32_t id);
/* A token as the vocabulary spells it: "Ġthe", "<|im_end|>". NULL when the id is out of range or not used.
   *length (may be NULL) in bytes; not NUL-terminated. Lives as long as the tokenizer. */
HONE_API const char *hone_tokenizer_text(const hone_tokenizer *tokenizer, int32_t id, size_t *length);
/* HONE_TOKEN_NONE when out of range or not used. */
HONE_API hone_token_type hone_tokenizer_type(const hone_tokenizer *tokenizer, int32_t id);
/* The id of a token spelled as by hone_tokenizer_text; -1: none. */
HONE_API int32_t hone_tokenizer_find(const hone_tokenizer *tokenizer, const char *text, size_t length);
/* The chat template (Jinja); NULL when the model has none. Lives as long as the tokenizer. */
HONE_API const char *hone_tokenizer_chat_template(const hone_tokenizer *tokenizer);

typedef enum hone_encode_flags {
    HONE_ENCODE_SPECIAL =
        1, /* control tokens written in the text are those tokens; else they are plain text */
    HONE_ENCODE_ENDS =
        2 /* bos before and eos behind where the model's files ask for it (add_bos_token, ...) */
} hone_encode_flags;

/* Appends the ids of text[0..length) to tokens. Any bytes are legal: what is not UTF-8 goes through byte by
   byte, and decoding gives every byte back. A byte for which the vocabulary has no token becomes the model's
   unknown token if BPE has one, else it is left out and logged, as in `tokenizers` (SmolLM2 lacks 0x04,
   0x06, 0x13, 0x14, 0x16, 0x1D and bytes that UTF-8 does not use or only beyond plane 3). `flags`:
   hone_encode_flags or-ed. Errors do not stick (but MEMORY): INVALID for more than 1 GiB of text, FORMAT
   when a pattern of the model's file cannot be applied; tokens is then as before. */
HONE_API hone_status hone_tokenizer_encode(hone_ctx *ctx, const hone_tokenizer *tokenizer, const char *text,
                                           size_t length, unsigned flags, hone_tokens *tokens);

typedef enum hone_decode_flags {
    HONE_DECODE_SKIP_SPECIAL = 1 /* control tokens give no text; else their spelling */
} hone_decode_flags;

/* Appends the bytes of ids[0..count) to text; they need not be UTF-8. INVALID for an id that is out of range
   (does not stick); ids that are not used give nothing. */
HONE_API hone_status hone_tokenizer_decode(hone_ctx *ctx, const hone_tokenizer *tokenizer, const int32_t *ids,
                                           size_t count, unsigned flags, hone_text *text);

/* Decoding token by token: characters appear once they are whole. Zero-initialise. */
typedef struct hone_decode_stream {
    unsigned char pending[4];
    int count;
} hone_decode_stream;
/* Appends to text the characters that `id` completes, always valid UTF-8: bytes that cannot become a
   character give U+FFFD. Errors as hone_tokenizer_decode. */
HONE_API hone_status hone_decode_stream_add(hone_ctx *ctx, const hone_tokenizer *tokenizer, int32_t id,
                                            unsigned flags, hone_decode_stream *stream, hone_text *text);
/* The end: a character left incomplete gives U+FFFD. The stream is fresh again. */
HONE_API hone_status hone_decode_stream_end(hone_ctx *ctx, hone_decode_stream *stream, hone_text *text);

/* ---- chat templates ---------------------------------------------------------------------------------- */

/* A part of a rendered chat, in bytes. */
typedef struct hone_chat_span {
    size_t begin, end;
} hone_chat_span;

/* Appends to text what the model's own template makes of the messages, its default system message included;
   with add_generation_prompt, the opening of the assistant's turn at the end. spans (NULL: not wanted)
   receives room for up to `count` spans and *n_spans how many: one for each assistant message, its text and
   the token that ends its turn, nothing before or after. Templates are recognised, not interpreted: ChatML
   (SmolLM2, Qwen 1.5), Llama 3. Errors do not stick: STATE when the model has no template, UNSUPPORTED for
   an unknown one, INVALID for no messages or a NULL in one. */
HONE_API hone_status hone_chat_render(hone_ctx *ctx, const hone_tokenizer *tokenizer,
                                      const hone_message *messages, size_t count, bool add_generation_prompt,
                                      hone_text *text, hone_chat_span *spans, size_t *n_spans);

/* Appends the ids of the rendered chat, equal to those of the whole text encoded with HONE_ENCODE_SPECIAL;
   tokens->trained is 1 for tokens with at least one byte in an assistant's span. Errors as above and as
   hone_tokenizer_encode. */
HONE_API hone_status hone_chat_encode(hone_ctx *ctx, const hone_tokenizer *tokenizer,
                                      const hone_message *messages, size_t count, bool add_generation_prompt,
                                      hone_tokens *tokens);

/* ---- sampling ---------------------------------------------------------------------------------------- */

typedef struct hone_sampler_opts {
    size_t struct_size;
    float temperature; /* default 0: greedy, the largest logit; the lowest id on a tie */
    int64_t top_k;     /* only the k largest logits (of equal ones the lower ids); default 0: all */
    float top_p;   /* only the likeliest tokens whose probabilities reach p, in (0, 1]; default 0 or 1: all */
    uint64_t seed; /* default 0 */
    float min_p;   /* only tokens at least min_p times as likely as the likeliest one, in [0, 1]; default 0: all */
} hone_sampler_opts;

typedef struct hone_sampler hone_sampler;

/* Chooses tokens: first top_k, then softmax(logits / temperature) over what is left, then top_p over that
   distribution, then min_p (at least one token stays; Nguyen et al. 2024, as transformers' MinPLogitsWarper behind its
   TopPLogitsWarper), then one uniform draw. NULL on error (sticky): INVALID for an
   option out of range, MEMORY. The caller owns the result. */
HONE_API hone_sampler *hone_sampler_new_opt(hone_ctx *ctx, const hone_sampler_opts *opts);
#define hone_sampler_new(...)                                                                                \
    HONE_OPTS1(hone_sampler_new_opt, hone_sampler_opts, __VA_ARGS__, .struct_size = sizeof(hone_sampler_opts))
HONE_API void hone_sampler_free(hone_sampler *sampler); /* NULL is allowed */
/* The token at `position` (0, 1, 2, ... of the sequence) from logits[0..count): a function of the logits,
   the options and (seed, position) alone, however often and in whatever order it is called. NUMERIC when a
   logit is NaN or infinite, INVALID when count is not positive; errors do not stick. */
HONE_API hone_status hone_sampler_next(hone_sampler *sampler, const float *logits, int64_t count,
                                       uint64_t position, int32_t *id);

/* ---- language models -------------------------------------------------------------------------------- */

/* A pretrained language model: its files, tokenizer and network (a hone_model whose parameters carry Hugging Face's names
   and lie in the file's mapping, frozen, until training is asked for). */
typedef struct hone_llm hone_llm;

typedef struct hone_llm_opts {
    size_t struct_size;
    hone_dtype compute; /* f32 (default) or bf16 */
    bool auto_compute;  /* bf16 where the CPU is made for it, else f32; compute is then ignored */
} hone_llm_opts;
/* Opens a .gguf file or a Hugging Face folder (config.json, *.safetensors, tokenizer.json). NULL on error (sticky): IO,
   FORMAT, UNSUPPORTED for another family of models, NOT_FOUND and SHAPE for tensors that the network needs otherwise. */
HONE_API hone_llm *hone_llm_open_opt(hone_ctx *ctx, const char *path, const hone_llm_opts *opts);
#define hone_llm_open(...)                                                                                   \
    HONE_OPTS2(hone_llm_open_opt, hone_llm_opts, __VA_ARGS__, .struct_size = sizeof(hone_llm_opts))
HONE_API void hone_llm_free(hone_llm *llm); /* NULL is allowed */
HONE_API hone_model *hone_llm_model(hone_llm *llm);                       /* owned by llm */
HONE_API const hone_tokenizer *hone_llm_tokenizer(const hone_llm *llm); /* owned by llm */
HONE_API hone_dtype hone_llm_compute(const hone_llm *llm);
HONE_API int64_t hone_llm_vocabulary(const hone_llm *llm);
HONE_API int64_t hone_llm_context_length(const hone_llm *llm);

/* Logits of every position, f32 [count, vocabulary], owned by the caller. NULL on error: INVALID for a token outside the
   vocabulary or more tokens than the context holds (does not stick). */
HONE_API hone_tensor *hone_llm_logits(hone_llm *llm, const int32_t *ids, int64_t count);

/* One sequence being continued: its keys and values are kept. Uses llm, which must outlive it. */
typedef struct hone_session hone_session;
/* For up to `capacity` tokens (at most the context length). Owned by the caller. */
HONE_API hone_session *hone_session_new(hone_llm *llm, int64_t capacity);
HONE_API void hone_session_free(hone_session *session); /* NULL is allowed */
HONE_API int64_t hone_session_length(const hone_session *session); /* tokens fed */
HONE_API hone_status hone_session_rewind(hone_session *session, int64_t length); /* forgets the tokens after it */
/* Appends tokens; logits [vocabulary] after the last one (NULL: not wanted). INVALID when they do not fit. */
HONE_API hone_status hone_session_feed(hone_session *session, const int32_t *ids, int64_t count, float *logits);

/* Several sequences that are continued together: a session of `rows` rows, each with a length of its own. A step of all
   rows reads the weights once, so that eight rows take little longer than one. Rows are prompted one by one, at any time:
   one that is done takes the next prompt while the others go on. A row's logits do not depend on the others: they are
   those of a session of one row but for the order of sums (f32: a relative error of 1e-5 or so); with bf16 or weights in
   blocks the differences are of the size of the rounding that they compute with. The functions above are for row 0.
   Errors are INVALID, for a row that does not exist among others, and do not stick. */
enum { HONE_SESSION_ROWS = 64 };
/* rows: 1 to HONE_SESSION_ROWS; up to `capacity` tokens each. Owned by the caller. */
HONE_API hone_session *hone_session_new_rows(hone_llm *llm, int64_t rows, int64_t capacity);
HONE_API int64_t hone_session_rows(const hone_session *session);
HONE_API int64_t hone_session_row_length(const hone_session *session, int64_t row); /* -1: no such row */
HONE_API hone_status hone_session_row_rewind(hone_session *session, int64_t row, int64_t length);
/* Appends a prompt, or a part of one, to one row, as hone_session_feed. */
HONE_API hone_status hone_session_row_feed(hone_session *session, int64_t row, const int32_t *ids, int64_t count,
                                           float *logits);
/* Row `to` becomes the first `length` tokens of row `from`. */
HONE_API hone_status hone_session_row_copy(hone_session *session, int64_t to, int64_t from, int64_t length);
/* Appends token ids[i] to row rows[i], i < count, each row at most once; logits [count, vocabulary] after them (NULL: not
   wanted). */
HONE_API hone_status hone_session_step(hone_session *session, int64_t count, const int32_t *rows, const int32_t *ids,
                                       float *logits);
/* The logits of the last feed ([1, vocabulary]) or step ([count, vocabulary]) where they lie, until the next one. NULL: there
   was none. */
HONE_API const float *hone_session_logits(const hone_session *session);

typedef struct hone_generate_opts {
    size_t struct_size;
    int64_t max_tokens;          /* default 256 */
    hone_sampler_opts sampling;  /* default greedy */
    const char *const *stop;     /* texts that end the generation; not part of it */
    size_t n_stop;
    bool ignore_end;             /* go on after the end-of-text and end-of-turn tokens */
    /* Before a token is chosen the logits of those that were there are divided by it where they are positive, and multiplied
       where they are not: of the prompt, of what is generated, and of `earlier`. More than 0; default 1: nothing changes. Keskar et
       al. 2019, 4.1, as transformers' RepetitionPenaltyLogitsProcessor. */
    float repetition_penalty;
    const int32_t *earlier;      /* [n_earlier] tokens that the session held before the prompt; borrowed */
    int64_t n_earlier;
    /* Text as it comes, whole characters, not NUL-terminated; false stops. */
    bool (*on_text)(void *user, const char *text, size_t size);
    /* For hone_generate_batch, instead of on_text: item `i` has its results; false stops. */
    bool (*on_done)(void *user, int64_t i);
    void *user;
} hone_generate_opts;
/* Feeds the prompt and generates until an end token, a stop text, max_tokens or the session's capacity. New tokens are
   appended to out (NULL: not wanted), the end token not among them. INVALID for a penalty that is no number above 0. */
HONE_API hone_status hone_generate_opt(hone_session *session, const int32_t *prompt, int64_t count, hone_tokens *out,
                                       const hone_generate_opts *opts);
#define hone_generate(...)                                                                                   \
    HONE_OPTS4(hone_generate_opt, hone_generate_opts, __VA_ARGS__, .struct_size = sizeof(hone_generate_opts))

/* A prompt of several, and what is generated. */
typedef struct hone_generation {
    const int32_t *prompt; /* [count], borrowed */
    int64_t count;
    uint64_t seed;         /* added to the options' seed */
    hone_tokens tokens;    /* as hone_generate's out: appended; the caller frees both */
    hone_text text;
} hone_generation;
/* Generates for each of items[n] as hone_generate does for one, as many at once as the session has rows; a row that is done
   takes the next item. What the session held is lost. Items with the prompt of the one before it do not read it again.
   INVALID for a prompt that is empty or does not fit. After an error, or when on_done stops it, unfinished items hold
   what they have. */
HONE_API hone_status hone_generate_batch_opt(hone_session *session, hone_generation *items, int64_t n,
                                             const hone_generate_opts *opts);
#define hone_generate_batch(...)                                                                             \
    HONE_OPTS3(hone_generate_batch_opt, hone_generate_opts, __VA_ARGS__, .struct_size = sizeof(hone_generate_opts))

/* ---- data ---------------------------------------------------------------------------------------------- */

/* Records rendered with the model's template and tokenized: chats train the assistant's text and the token that ends its
   turn, raw text is trained whole; {"text", "label"} becomes a user's text and the assistant's label. */
typedef struct hone_llm_data hone_llm_data;
typedef struct hone_llm_data_opts {
    size_t struct_size;
    int64_t max_seq_length; /* longer examples lose their end; raw text is cut into pieces. Default 1024 or the context */
    bool train_on_prompt;   /* every token is trained */
} hone_llm_data_opts;
/* Owned by the caller; the records may go. NULL on error (sticky), with the record's number. */
HONE_API hone_llm_data *hone_llm_data_new_opt(hone_llm *llm, const hone_records *records, const hone_llm_data_opts *opts);
#define hone_llm_data_new(...)                                                                               \
    HONE_OPTS2(hone_llm_data_new_opt, hone_llm_data_opts, __VA_ARGS__, .struct_size = sizeof(hone_llm_data_opts))
HONE_API void hone_llm_data_free(hone_llm_data *data); /* NULL is allowed */
typedef struct hone_llm_data_counts {
    int64_t examples, tokens, trained_tokens;
    int64_t truncated; /* examples that lost their end */
    int64_t empty;     /* examples with nothing to learn from: left out of training */
    int64_t longest;   /* tokens */
    int64_t blank;     /* records with an assistant's text of blanks alone, of which the token that ends it is learnt */
    const char *why_empty; /* which record is the first of the empty ones and what it lacks, for people; "": not known. The data's */
} hone_llm_data_counts;
HONE_API hone_llm_data_counts hone_llm_data_count(const hone_llm_data *data);
/* Example i: ids and trained [count], borrowed. INVALID when there is none. */
HONE_API hone_status hone_llm_data_example(const hone_llm_data *data, int64_t i, const int32_t **ids,
                                           const uint8_t **trained, int64_t *count);

/* ---- evaluation ------------------------------------------------------------------------------------------ */

typedef struct hone_llm_result {
    double loss;           /* mean negative log-likelihood of the trained tokens, natural logarithm */
    double perplexity;     /* e^loss */
    double token_accuracy; /* share of trained tokens that are the likeliest ones */
    int64_t tokens;
} hone_llm_result;
HONE_API hone_status hone_llm_evaluate(hone_llm *llm, const hone_llm_data *data, hone_llm_result *result);

/* Records whose answers are labels: each record's prompt (all but its last assistant message) is read, then the labels
   compared. */
typedef struct hone_llm_labels {
    double likelihood_accuracy; /* the label with the highest likelihood is right */
    double generated_accuracy;  /* the greedy answer, trimmed and without a final full stop, case ignored, is right */
    double macro_f1;            /* of the likelihood's choice */
    int64_t examples;
} hone_llm_labels;
/* labels[n_labels]; a record whose answer is none of them is INVALID (does not stick). progress may be NULL; false from
   it cancels. */
HONE_API hone_status hone_llm_classify(hone_llm *llm, const hone_records *records, int64_t n_labels,
                                       const char *const *labels, hone_llm_labels *result,
                                       bool (*progress)(void *user, int64_t done, int64_t all), void *user);

/* ---- adapters and files -------------------------------------------------------------------------------------- */

/* Loads a PEFT LoRA adapter (adapter_config.json, adapter_model.safetensors) onto the model; its weights are trained
   further if the model is. Before the first run. NOT_FOUND, SHAPE, FORMAT, UNSUPPORTED with the file's name. */
HONE_API hone_status hone_llm_load_adapter(hone_llm *llm, const char *folder);
/* Writes the adapter that the model carries, as PEFT reads it. STATE when it has none. */
HONE_API hone_status hone_llm_save_adapter(hone_llm *llm, const char *folder);

typedef enum hone_export_format { HONE_EXPORT_SAFETENSORS, HONE_EXPORT_GGUF, HONE_EXPORT_PEFT } hone_export_format;
typedef struct hone_export_opts {
    size_t struct_size;
    hone_export_format format;
    hone_dtype dtype; /* of the matrices: f32 (default), f16, bf16; GGUF also q8_0, q4_0, q4_1. Vectors stay f32 in GGUF */
} hone_export_opts;
/* Writes the model, an adapter merged into it, with tokenizer, template and generation config: a folder for safetensors and
   PEFT, a file for GGUF. What stands at path is replaced only when all is written. */
HONE_API hone_status hone_llm_export_opt(hone_llm *llm, const char *path, const hone_export_opts *opts);
#define hone_llm_export(...)                                                                                 \
    HONE_OPTS2(hone_llm_export_opt, hone_export_opts, __VA_ARGS__, .struct_size = sizeof(hone_export_opts))

/* What a file or folder holds, without computing anything. */
typedef struct hone_llm_description {
    const char *family;       /* "llama" */
    int64_t layers, hidden_size, heads, kv_heads, intermediate_size, vocabulary, context_length;
    int64_t parameters;
    size_t stored_bytes;      /* of all weights as they lie in the file */
    size_t memory_generate;   /* predicted peak, bytes: generating with a cache of 2,048 tokens */
    size_t memory_lora, memory_full; /* predicted peaks of fine-tuning at 4 x 256 tokens */
    hone_dtype main_dtype;    /* of most matrix elements */
} hone_llm_description;
HONE_API hone_llm_description hone_llm_describe(const hone_llm *llm);

/* ---- fine-tuning ------------------------------------------------------------------------------------------------ */

typedef enum hone_finetune_method { HONE_FINETUNE_LORA, HONE_FINETUNE_FULL } hone_finetune_method;

/* One optimizer step, or an evaluation. */
typedef struct hone_finetune_step {
    int64_t step, total_steps; /* step counts from 1 */
    double epoch;
    double loss;           /* mean over the step's trained tokens */
    double learning_rate, grad_norm, tokens_per_second;
    int64_t tokens;        /* of the step, padding not counted */
    double seconds_left;
    size_t peak_memory_bytes;
    bool is_evaluation;    /* then eval is filled, and of the others step, total_steps and epoch */
    hone_llm_result eval;
} hone_finetune_step;

typedef struct hone_finetune_opts {
    size_t struct_size;
    hone_finetune_method method;
    hone_lora_opts lora;              /* method LoRA, unless an adapter is loaded */
    const char *output_dir;           /* made when missing; NULL: nothing is written */
    double epochs;                    /* default 1; ignored with max_steps */
    int64_t max_steps;
    double max_seconds;               /* > 0: no step is begun that would end later; the schedule runs on time */
    int64_t batch_size;               /* sequences a micro-batch; default 4 */
    int64_t gradient_accumulation_steps; /* default 1 */
    int64_t max_seq_length;           /* as the data was made with; rows are packed up to it */
    bool no_packing;                  /* one example a row, padded within its batch to a multiple of 16 */
    double learning_rate;             /* default 2e-4 LoRA, 2e-5 full */
    hone_schedule_kind lr_scheduler_type; /* default constant here; the program's default is cosine */
    double warmup_ratio;              /* share of the steps */
    double weight_decay;              /* default 0 */
    double max_grad_norm;             /* default 1; HONE_ZERO: no clipping */
    const char *optimizer;            /* a name of hone/optimizer.def; default "adamw" */
    bool gradient_checkpointing;      /* blocks' activations are computed again backwards: less memory, same results */
    bool no_shuffle;
    int64_t eval_steps, save_steps;   /* every so many steps; 0: eval at the end of each epoch, save at the end */
    int64_t save_total_limit;         /* older checkpoints are removed; 0: all are kept */
    const char *resume_from;          /* a checkpoint folder, or "latest" */
    /* After each step and evaluation; false stops after saving, as hone_cancel does. */
    bool (*on_step)(void *user, const hone_finetune_step *step);
    void *user;
} hone_finetune_opts;

/* What a run will do, before it does it. */
typedef struct hone_finetune_plan {
    int64_t total_steps, rows; /* rows of max_seq_length an epoch (or examples, without packing) */
    int64_t trained_parameters, parameters;
    size_t memory_bytes;       /* predicted peak */
    double seconds;            /* predicted, from a measured matrix product; 0 when unknown */
    int64_t resumed_step;      /* steps already made by the checkpoint */
} hone_finetune_plan;

/* A prepared run; llm, train and valid (may be NULL) must outlive it. Owned by the caller; NULL on error (sticky). */
typedef struct hone_finetune hone_finetune;
HONE_API hone_finetune *hone_finetune_new(hone_llm *llm, const hone_llm_data *train, const hone_llm_data *valid,
                                          const hone_finetune_opts *opts);
HONE_API void hone_finetune_free(hone_finetune *run); /* NULL is allowed */
HONE_API hone_finetune_plan hone_finetune_planned(const hone_finetune *run);
/* Trains. Writes metrics.jsonl, TensorBoard events, loss.svg and loss.png, checkpoint-N/, and at the end the adapter or
   model itself into output_dir. OK; CANCELLED when stopped (a checkpoint was saved: hone_error says how to go on); NUMERIC
   when the loss is not finite (the last good step is saved, the layer named). Does not stick. */
HONE_API hone_status hone_finetune_run(hone_finetune *run);

#ifdef __cplusplus
}
#endif
#endif
