/* Chats: a model's own template is recognised by its text, whatever its spacing and quoting, and rendered
   from a table. Nothing is guessed: a template that differs in meaning is refused. */
#include "llm/tokenizer.h"

/* Templates are compared in a canonical form: statements as {%...%}, printed expressions as {{...}}, printed
   text between \1 and \2, spaces only where two words would run together, a["b"] as a.b, "..." for strings
   within expressions. In `form`, \3 stands for any text. */
#define TEXT(s) "\1" s "\2"
#define LOOP "{%for message in messages%}"
#define LOOP_END "{%endfor%}"
#define IF_PROMPT "{%if add_generation_prompt%}"
#define ENDIF "{%endif%}"
#define CHATML_TURN \
    TEXT("<|im_start|>") "{{message.role}}" TEXT("\n") "{{message.content}}" TEXT("<|im_end|>\n")
#define CHATML_PROMPT IF_PROMPT TEXT("<|im_start|>assistant\n") ENDIF
#define NO_SYSTEM_FIRST(condition) "{%if " condition "%}"
#define CHATML_SYSTEM TEXT("<|im_start|>system\n\3<|im_end|>\n") ENDIF
#define LLAMA3_CONTENT                                                                                   \
    "{%set content=\"<|start_header_id|>\"+message.role+\"<|end_header_id|>\n\n\"+message.content|trim+" \
    "\"<|eot_id|>\"%}{%if loop.index0==0%}{%set content=bos_token+content%}{%endif%}{{content}}{%endfor%}"
#define LLAMA3_PROMPT TEXT("<|start_header_id|>assistant<|end_header_id|>\n\n")

typedef struct chat_style {
    const char *name;
    const char *open, *role_end, *turn_end, *after; /* around a turn's role and content */
    bool bos, trim; /* begin with bos; content without white space at its ends */
} chat_style;

static const chat_style chatml = {"ChatML", "<|im_start|>", "\n", "<|im_end|>", "\n", false, false};
static const chat_style llama3 = {
    "Llama 3", "<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>", "", true, true};

static const struct {
    const chat_style *style;
    bool always_prompts; /* opens the assistant's turn whether asked to or not */
    const char *form;
} families[] = {
    {&chatml, false, LOOP CHATML_TURN LOOP_END CHATML_PROMPT},
    {&chatml, false,
     LOOP NO_SYSTEM_FIRST("loop.first and messages[0].role!=\"system\"")
         CHATML_SYSTEM CHATML_TURN LOOP_END CHATML_PROMPT},
    {&chatml, false,
     NO_SYSTEM_FIRST("messages[0].role!=\"system\"") CHATML_SYSTEM LOOP CHATML_TURN LOOP_END CHATML_PROMPT},
    {&llama3, false,
     "{%set loop_messages=messages%}{%for message in loop_messages%}" LLAMA3_CONTENT IF_PROMPT LLAMA3_PROMPT
         ENDIF},
    {&llama3, true,
     "{%set loop_messages=messages%}{%for message in loop_messages%}" LLAMA3_CONTENT LLAMA3_PROMPT},
    {&llama3, false, LOOP LLAMA3_CONTENT IF_PROMPT LLAMA3_PROMPT ENDIF},
};
/* A prelude that changes nothing here: the flag is always defined. */
#define PRELUDE "{%if not add_generation_prompt is defined%}{%set add_generation_prompt=false%}{%endif%}"

/* ---- the canonical form ---- */

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (unsigned char)c >= 0x80;
}
static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Text that is printed; joined to text that was printed just before. */
static bool put_text(hone_ctx *ctx, hone__buffer *out, const char *text, size_t size)
{
    if (!size) return true;
    if (out->size && out->data[out->size - 1] == '\2')
        out->size--;
    else if (!hone__buffer_add(ctx, out, "\1", 1))
        return false;
    return hone__buffer_add(ctx, out, text, size) && hone__buffer_add(ctx, out, "\2", 1);
}

/* A Jinja string literal at p (its quote), unescaped into out; the byte behind it, or NULL when it does not
   end. */
static const char *read_string(hone_ctx *ctx, const char *p, const char *end, hone__buffer *out)
{
    for (char quote = *p++; p < end && *p != quote; p++) {
        char c = *p;
        if (c == '\\' && p + 1 < end) {
            c = *++p;
            if (!strchr("ntr\\'\"", c)) return NULL; /* \u and its kind occur in no template that is known */
            c = (char)(c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c);
        }
        if (!hone__buffer_add(ctx, out, &c, 1)) return NULL;
    }
    return p < end ? p + 1 : NULL;
}

/* An expression or statement without needless spaces, strings in "", a["b"] and a['b'] as a.b. */
static bool put_code(hone_ctx *ctx, hone__buffer *out, const char *p, const char *end)
{
    size_t start = out->size;
    bool gap = false;
    while (p < end) {
        if (is_blank(*p)) {
            gap = true, p++;
            continue;
        }
        if (gap && out->size > start && is_word(out->data[out->size - 1]) && is_word(*p) &&
            !hone__buffer_add(ctx, out, " ", 1))
            return false;
        gap = false;
        if (*p != '\'' && *p != '"') {
            if (!hone__buffer_add(ctx, out, p++, 1)) return false;
            continue;
        }
        hone__buffer string = {0};
        const char *next = read_string(ctx, p, end, &string);
        bool key = next && next < end && *next == ']' && out->size > start + 1 &&
                   out->data[out->size - 1] == '[' &&
                   (is_word(out->data[out->size - 2]) || out->data[out->size - 2] == ']') && string.size > 0;
        for (size_t i = 0; key && i < string.size; i++) key = is_word(string.data[i]);
        if (key) out->data[out->size - 1] = '.';
        bool ok = next && (key || hone__buffer_add(ctx, out, "\"", 1)) &&
                  (!string.size || hone__buffer_add(ctx, out, string.data, string.size)) &&
                  (key || hone__buffer_add(ctx, out, "\"", 1));
        hone__buffer_free(ctx, &string);
        if (!ok) return false;
        p = next + (key ? 1 : 0);
    }
    return true;
}

/* {{ a + 'b' + c }} as {{a}} and the text b and {{c}}: a sum of strings prints its parts. */
static bool put_expression(hone_ctx *ctx, hone__buffer *out, const char *p, const char *end)
{
    while (p < end) {
        int depth = 0;
        char quote = 0;
        const char *stop = p;
        for (; stop < end && (quote || depth || *stop != '+'); stop++) {
            if (quote) {
                if (*stop == '\\' && stop + 1 < end)
                    stop++;
                else if (*stop == quote)
                    quote = 0;
            } else if (*stop == '\'' || *stop == '"') {
                quote = *stop;
            } else {
                depth += (*stop == '(' || *stop == '[') - (*stop == ')' || *stop == ']');
            }
        }
        const char *first = p, *last = stop;
        while (first < last && is_blank(*first)) first++;
        while (last > first && is_blank(last[-1])) last--;
        hone__buffer string = {0};
        bool literal = first < last && (*first == '\'' || *first == '"') &&
                       read_string(ctx, first, last, &string) == last;
        bool ok = literal ? put_text(ctx, out, string.data, string.size)
                          : hone__buffer_add(ctx, out, "{{", 2) && put_code(ctx, out, first, last) &&
                                hone__buffer_add(ctx, out, "}}", 2);
        hone__buffer_free(ctx, &string);
        if (!ok) return false;
        p = stop + (stop < end);
    }
    return true;
}

/* Where the tag that is open at p closes, beyond strings; NULL: nowhere. */
static const char *find_close(const char *p, const char *close)
{
    char quote = 0;
    for (; *p; p++) {
        if (quote) {
            if (*p == '\\' && p[1])
                p++;
            else if (*p == quote)
                quote = 0;
        } else if (!strncmp(p, close, 2)) {
            return p;
        } else if ((*p == '\'' || *p == '"') && close[0] != '#') {
            quote = *p;
        }
    }
    return NULL;
}

/* With trim_blocks and lstrip_blocks, as transformers renders. false: memory, or no template. */
static bool canonical(hone_ctx *ctx, const char *source, hone__buffer *out)
{
    const char *p = source;
    bool strip = false, after_block = false; /* the tag before: ended in '-', was a statement or comment */
    for (;;) {
        const char *open = p;
        while ((open = strchr(open, '{')) && !strchr("{%#", open[1])) open++;
        if (open && !open[1]) open = NULL;
        const char *first = p, *last = open ? open : p + strlen(p);
        if (strip)
            while (first < last && is_blank(*first)) first++;
        else if (after_block && first < last && *first == '\n')
            first++;
        if (!open && last > first && last[-1] == '\n') last--; /* Jinja drops the file's last newline */
        if (open && open[2] == '-') {
            while (last > first && is_blank(last[-1])) last--;
        } else if (open && open[1] != '{' && open[2] != '+') {
            const char *line = last;
            while (line > first && (line[-1] == ' ' || line[-1] == '\t')) line--;
            if (line == source || line[-1] == '\n') last = line;
        }
        if (!put_text(ctx, out, first, (size_t)(last - first))) return false;
        if (!open) return hone__buffer_add(ctx, out, "", 0);
        char close[3] = {(char)(open[1] == '{' ? '}' : open[1]), '}', 0};
        const char *begin = open + 2 + (open[2] == '-' || open[2] == '+'), *end = find_close(begin, close);
        if (!end) return false;
        p = end + 2;
        after_block = open[1] != '{';
        strip = end > begin && end[-1] == '-';
        if (end > begin && (end[-1] == '-' || end[-1] == '+')) {
            after_block = after_block && end[-1] == '-';
            end--;
        }
        if (open[1] == '{' && !put_expression(ctx, out, begin, end)) return false;
        if (open[1] == '%' && !(hone__buffer_add(ctx, out, "{%", 2) && put_code(ctx, out, begin, end) &&
                                hone__buffer_add(ctx, out, "%}", 2)))
            return false;
    }
}

/* Does text equal form, where \3 in form matches anything that is not a mark? Sets what it matched. */
static bool matches(const char *form, const char *text, const char **wild, size_t *wild_size)
{
    const char *star = strchr(form, '\3');
    *wild = NULL;
    *wild_size = 0;
    if (!star) return !strcmp(form, text);
    size_t head = (size_t)(star - form), tail = strlen(star + 1), size = strlen(text);
    if (size < head + tail || memcmp(form, text, head) != 0 || strcmp(star + 1, text + size - tail) != 0)
        return false;
    *wild = text + head;
    *wild_size = size - head - tail;
    return !memchr(*wild, '\1', *wild_size) && !memchr(*wild, '\2', *wild_size);
}

/* ---- rendering ---- */

typedef struct chat_writer {
    hone_ctx *ctx;
    hone__buffer text;
} chat_writer;

static bool put(chat_writer *w, const char *text)
{
    return hone__buffer_add(w->ctx, &w->text, text, strlen(text));
}

static void trim(const char **text, size_t *size)
{
    uint32_t code;
    int n;
    /* Python's str.strip() also takes the separators 0x1C to 0x1F. */
    while (*size && (n = hone__utf8_next(*text, *size, &code)) > 0 &&
           (hone__is_space(code) || (code >= 0x1C && code <= 0x1F))) {
        *text += n;
        *size -= (size_t)n;
    }
    while (*size) {
        size_t at = *size - 1;
        while (at > 0 && ((*text)[at] & 0xC0) == 0x80) at--;
        if (!hone__utf8_next(*text + at, *size - at, &code) ||
            !(hone__is_space(code) || (code >= 0x1C && code <= 0x1F)))
            break;
        *size = at;
    }
}

/* One turn; its content and end mark in *span. */
static bool put_turn(chat_writer *w, const chat_style *style, const char *role, const char *content,
                     size_t size, hone_chat_span *span)
{
    if (style->trim) trim(&content, &size);
    if (!put(w, style->open) || !put(w, role) || !put(w, style->role_end)) return false;
    span->begin = w->text.size;
    if (!hone__buffer_add(w->ctx, &w->text, content, size) || !put(w, style->turn_end)) return false;
    span->end = w->text.size;
    return put(w, style->after);
}

static hone_status render(chat_writer *w, const hone_tokenizer *t, const hone_message *messages, size_t count,
                          bool prompt, hone_chat_span *spans, size_t *n_spans, const char *form)
{
    hone_ctx *ctx = w->ctx;
    const char *system = NULL;
    size_t family = 0, system_size = 0, bos_size = 0;
    while (family < HONE_ARRAY_LEN(families) && !matches(families[family].form, form, &system, &system_size))
        family++;
    if (family == HONE_ARRAY_LEN(families))
        return hone__fail_run(
            ctx, HONE_UNSUPPORTED,
            "%s: its chat template is not one of those known: ChatML with or without a default system "
            "message (SmolLM2, Qwen 1.5), Llama 3; it begins with \"%.120s\"",
            t->source, t->chat_template);
    const chat_style *style = families[family].style;
    hone_chat_span span;
    const char *bos = style->bos ? hone_tokenizer_text(t, t->special[HONE_SPECIAL_BOS], &bos_size) : NULL;
    if (bos && !hone__buffer_add(ctx, &w->text, bos, bos_size)) return ctx->status;
    if (system && strcmp(messages[0].role, "system") != 0 &&
        !put_turn(w, style, "system", system, system_size, &span))
        return ctx->status;
    for (size_t i = 0; i < count; i++) {
        if (!put_turn(w, style, messages[i].role, messages[i].content, strlen(messages[i].content), &span))
            return ctx->status;
        if (spans && !strcmp(messages[i].role, "assistant")) spans[(*n_spans)++] = span;
    }
    if ((prompt || families[family].always_prompts) &&
        !(put(w, style->open) && put(w, "assistant") && put(w, style->role_end)))
        return ctx->status;
    return HONE_OK;
}

hone_status hone_chat_render(hone_ctx *ctx, const hone_tokenizer *t, const hone_message *messages,
                             size_t count, bool prompt, hone_text *text, hone_chat_span *spans,
                             size_t *n_spans)
{
    if (!t) return HONE_INVALID;
    if (!hone__ok(ctx)) return hone_ctx_status(ctx);
    if (n_spans) *n_spans = 0;
    if (!t->chat_template)
        return hone__fail_run(
            ctx, HONE_STATE,
            "%s: the model has no chat template, so messages cannot be rendered: use raw text, or an "
            "instruction-tuned model",
            t->source);
    if (!messages || !count || !spans != !n_spans)
        return hone__fail_run(ctx, HONE_INVALID, "chat: no messages");
    for (size_t i = 0; i < count; i++)
        if (!messages[i].role || !messages[i].content)
            return hone__fail_run(ctx, HONE_INVALID, "chat: message %zu has no role or no content", i);
    hone__buffer form = {0};
    size_t prelude = sizeof PRELUDE - 1, before = text->size;
    bool read = canonical(ctx, t->chat_template, &form);
    const char *start = !read || !form.data                     ? ""
                        : !strncmp(form.data, PRELUDE, prelude) ? form.data + prelude
                                                                : form.data;
    chat_writer w = {ctx, {text->data, text->size, text->capacity}};
    hone_status status =
        hone__ok(ctx) ? render(&w, t, messages, count, prompt, spans, n_spans, start) : ctx->status;
    hone__buffer_free(ctx, &form);
    *text = (hone_text){w.text.data, status == HONE_OK ? w.text.size : before, w.text.capacity};
    if (status != HONE_OK && text->data) text->data[before] = 0;
    return status;
}

hone_status hone_chat_encode(hone_ctx *ctx, const hone_tokenizer *t, const hone_message *messages,
                             size_t count, bool prompt, hone_tokens *tokens)
{
    if (!t) return HONE_INVALID;
    if (!hone__ok(ctx)) return hone_ctx_status(ctx);
    hone_text text = {0};
    hone__spans at = {0};
    size_t n_spans = 0, first = tokens->count;
    hone_chat_span *spans = hone__calloc(ctx, count, sizeof *spans);
    hone_status status =
        spans ? hone_chat_render(ctx, t, messages, count, prompt, &text, spans, &n_spans) : ctx->status;
    if (status == HONE_OK)
        status = hone__tokenizer_encode(ctx, t, text.data, text.size, HONE_ENCODE_SPECIAL, tokens, &at);
    for (size_t i = first, s = 0; status == HONE_OK && i < tokens->count; i++) {
        while (s < n_spans && spans[s].end <= at.at[2 * i]) s++;
        tokens->trained[i] = s < n_spans && at.at[2 * i + 1] > spans[s].begin;
    }
    hone__free(ctx, spans);
    hone__free(ctx, at.at);
    hone_text_free(ctx, &text);
    return status;
}
