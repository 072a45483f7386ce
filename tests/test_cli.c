/* The program, run as users run it. */
#include "program.h"

#include "hone/hone.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

/* ---- usage ---- */

static const char *const commands[] = {"info", "tokenize", "forward", "generate", "chat",
                                       "eval", "finetune", "export",  "bench", "train", "predict"};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void every_subcommand_explains_itself(void **state)
{
    (void)state;
    result all = HONE_RUN(NULL, "--help");
    check(all, 0, NULL);
    for (size_t i = 0; i < N_COMMANDS; i++) {
        assert_non_null(strstr(all.out, commands[i]));
        result r = HONE_RUN(NULL, commands[i], "--help"), same = HONE_RUN(NULL, "help", commands[i]);
        check(r, 0, NULL);
        check(same, 0, NULL);
        assert_string_equal(r.out, same.out);
        assert_non_null(strstr(r.out, "usage: hone "));
        assert_non_null(strstr(r.out, strcmp(commands[i], "train") ? "--model" : "--data")); /* what it needs */
        static const char *const common[] = {"--threads N", "--seed N", "--dtype ",
                                             "--quiet",     "--json",   "--config FILE.yaml"};
        for (size_t k = 0; k < sizeof common / sizeof *common; k++)
            if (!strstr(r.out, common[k])) fail_msg("hone %s --help lacks %s", commands[i], common[k]);
        for (const char *at = r.out; *at; at += strcspn(at, "\n") + 1) assert_true(strcspn(at, "\n") <= 100);
        release(r);
        release(same);
    }
    release(all);
}

static void the_version_is_the_librarys(void **state)
{
    (void)state;
    result r = HONE_RUN(NULL, "--version");
    char expected[40];
    snprintf(expected, sizeof expected, "hone %s\n", hone_version());
    check(r, 0, NULL);
    assert_string_equal(r.out, expected);
    release(r);
}

static void wrong_usage_exits_with_2_and_suggests(void **state)
{
    (void)state;
    result none = finish(start(NULL, (char *const *)(const char *const[]){"hone", NULL}));
    check(none, 2, "usage: hone COMMAND");
    release(none);
    static const char *const empty[][3] = {{"train", "--data", "DATA"},       {"train", "--output-dir", "DIR"}, {"predict", "--model", "DIR"},
                                           {"finetune", "--output-dir", "DIR"}, {"generate", "--model", "MODEL"}, {"eval", "--data", "DATA"},
                                           {"generate", "--config", "FILE.yaml"}};
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        char message[80];
        snprintf(message, sizeof message, "%s is empty: %s is expected", empty[i][1], empty[i][2]);
        REFUSES(2, message, empty[i][0], empty[i][1], "");
    }
    REFUSES(2, "did you mean 'finetune'?", "fintune");
    REFUSES(2, "unknown command 'xyzzy'", "help", "xyzzy");
    REFUSES(2, "hone finetune: unknown option '--lerning-rate'; did you mean '--learning-rate'?", "finetune",
            "--lerning-rate", "1");
    REFUSES(2, "did you mean '--max-tokens'?", "generate", "--max_token=3");
    REFUSES(2, "unknown option '--qqqqqq'\n", "generate", "--qqqqqq");
    REFUSES(2, "unknown option '-m'", "generate", "-m", "x");
    REFUSES(2, "--model MODEL is missing", "generate", "--prompt", "x");
    REFUSES(2, "--prompt TEXT is missing", "generate", "--model", "x");
    REFUSES(2, "MODEL is missing", "info");
    REFUSES(2, "unexpected argument 'b'", "info", "a", "b");
    REFUSES(2, "--model needs a value", "generate", "--model");
    REFUSES(2, "--model needs a value", "generate", "--model", "--prompt", "x");
    REFUSES(2, "--quiet takes no value", "generate", "--quiet=yes");
}

static void numbers_are_checked(void **state)
{
    (void)state;
#define FINETUNE "finetune", "--model", "m", "--data", "d", "--output-dir", "o"
    REFUSES(2, "--batch-size 0: must be between 1 and 4096", FINETUNE, "--batch-size", "0");
    REFUSES(2, "--batch-size '4x': not a whole number", FINETUNE, "--batch-size", "4x");
    REFUSES(2, "--batch-size '': not a whole number", FINETUNE, "--batch-size=");
    REFUSES(2, "--batch-size '99999999999999999999': not a whole number", FINETUNE, "--batch-size",
            "99999999999999999999");
    REFUSES(2, "--learning-rate 0: must be more than 0", FINETUNE, "--learning-rate", "0");
    REFUSES(2, "--learning-rate 'nan': not a number", FINETUNE, "--learning-rate", "nan");
    REFUSES(2, "--learning-rate '1e999': not a number", FINETUNE, "--learning_rate", "1e999");
    REFUSES(2, "--warmup-ratio 1.5: must be between 0 and 1", FINETUNE, "--warmup-ratio", "1.5");
    REFUSES(2, "--seed '-1': not a whole number", FINETUNE, "--seed", "-1");
    REFUSES(2, "--threads 0: must be between", FINETUNE, "--threads", "0");
    REFUSES(2, "--method 'loar': must be one of lora, full", FINETUNE, "--method", "loar");
    REFUSES(2, "--method 'qlora': must be one of lora, full", FINETUNE, "--method", "qlora");
    REFUSES(2, "--tokens: 'x' is no token id", "forward", "--model", "m", "--output", "o", "--tokens", "1,x");
    REFUSES(2, "--tokens: at least one", "forward", "--model", "m", "--output", "o", "--tokens", " ");
    REFUSES(2, "--stop", "generate", "--model", "m", "--prompt", "p", "--stop", "");
    REFUSES(2, "--labels", "eval", "--model", "m", "--data", "d", "--labels", "a,,b");
    REFUSES(2, "at least two", "eval", "--model", "m", "--data", "d", "--labels", "a");
}

static void options_that_exclude_each_other_are_refused(void **state)
{
    (void)state;
#define EXPORT "export", "--model", "m", "--output", "o", "--format"
    REFUSES(2, "--quantize is for --format gguf", EXPORT, "safetensors", "--quantize", "Q8_0");
    REFUSES(2, "--dtype and --quantize", EXPORT, "gguf", "--quantize", "q8_0", "--dtype", "f16");
    REFUSES(2, "--adapter DIR is missing", EXPORT, "peft");
    REFUSES(2, "--adapter goes on with LoRA", FINETUNE, "--method", "full", "--adapter", "a");
}

static void missing_files_fail_with_1(void **state)
{
    (void)state;
    const char *nowhere = place("nowhere");
    REFUSES(1, "nowhere", "info", nowhere);
    REFUSES(1, "nowhere", "generate", "--model", nowhere, "--prompt", "x");
    REFUSES(1, "nowhere", "eval", "--model", nowhere, "--data", nowhere);
    REFUSES(1, "nowhere", "export", "--model", nowhere, "--format", "gguf", "--output", place("out.gguf"));
    REFUSES(1, "nowhere", "finetune", "--model", nowhere, "--data", nowhere, "--output-dir", place("run"));
    REFUSES(1, "tokenizer.gguf", "info", HONE_TEST_DATA "/tokenizer/tokenizer.gguf"); /* no weights in it */
}

/* ---- --config ---- */

static void config_files_are_checked(void **state)
{
    (void)state;
    const char *path = place("options.yaml");
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"model: m\nlerning_rate: 3\n",
         "options.yaml line 2: unknown option 'lerning_rate'; did you mean 'learning-rate'?"},
        {"model: m\n\nbatch-size: 4x\n", "options.yaml line 3: batch-size '4x': not a whole number"},
        {"batch_size: 0\n", "options.yaml line 1: batch-size 0: must be between 1 and 4096"},
        {"no-packing: perhaps\n", "options.yaml line 1: no-packing 'perhaps': must be true or false"},
        {"seed: 1\nseed: 2\n", "options.yaml line 2: 'seed' comes twice"},
        {"config: other.yaml\n", "options.yaml line 1: unknown option 'config'"},
        {"model: {a: b}\n", "options.yaml line 1: model: a plain value is expected"},
        {"batch-size: [1, 2]\n", "options.yaml line 1: batch-size: takes one value, not a list"},
        {"- model\n", "options.yaml line 1: `name: value` lines are expected"},
        {"model: [a\n", "options.yaml line 2"},
        {"model: a\n---\nmodel: b\n", "a second document"},
        {"model: m\noutput-dir: o\n", "--data DATA is missing"},
        {"", "--model MODEL is missing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_all(path, cases[i].text);
        REFUSES(2, cases[i].message, "finetune", "--config", path);
    }
    REFUSES(2, "No such file", "finetune", "--config", place("none.yaml"));
}

static void the_command_line_wins_over_the_config_file(void **state)
{
    (void)state;
    const char *path = place("options.yaml"), *file = place("from-file"), *line = place("from-line");
    char text[600];
    snprintf(text, sizeof text,
             "model: %s\nprompt: Hello\nmax_tokens: 3\nadapter: null\nstop: [a, b]\nquiet: yes\n", file);
    write_all(path, text);
    REFUSES(1, "from-file", "generate", "--config", path);
    REFUSES(1, "from-line", "generate", "--model", line, "--config", path);
    REFUSES(1, "from-line", "generate", "--config", path, "--model", line);
}

/* ---- with a model ---- */

static const char *tiny(void)
{
    if (access(TINY, R_OK)) fail_msg("%s is missing", TINY);
    return TINY;
}

static void is_description(const json_t *o, size_t line)
{
    assert_int_equal(line, 0);
    assert_string_equal(json_string_value(json_object_get(o, "family")), "llama");
    assert_int_equal(json_integer_value(json_object_get(o, "layers")), 2);
    int64_t parameters = 0;
    const char *dtype;
    json_t *count;
    json_object_foreach(json_object_get(o, "dtypes"), dtype, count) parameters += json_integer_value(count);
    assert_int_equal(parameters, json_integer_value(json_object_get(o, "parameters")));
    assert_true(json_integer_value(json_object_get(o, "memory_generate")) > 0);
}

static void info_describes_a_model(void **state)
{
    (void)state;
    result r = HONE_RUN(NULL, "info", tiny()), json = HONE_RUN(NULL, "info", "--json", tiny());
    check(r, 0, NULL);
    check(json, 0, NULL);
    assert_non_null(strstr(r.out, "llama"));
    assert_int_equal(json_lines(json.out, is_description), 1);
    release(r);
    release(json);
}

static void tokenize_and_decode_are_inverse(void **state)
{
    (void)state;
    static const char text[] =
        "Hello world\n\n  two  blanks\t12345\n"
        "h\xC3\xA9llo \xE4\xBD\xA0 \xF0\x9F\x99\x82\n<|im_start|>user\nlast";
    result ids = HONE_RUN(text, "tokenize", "--model", tiny());
    check(ids, 0, NULL);
    size_t lines = 0;
    for (const char *at = ids.out; *at; at++) lines += *at == '\n';
    assert_int_equal(lines, 6);
    assert_int_equal(strspn(ids.out, "0123456789 \n"), strlen(ids.out));
    result back = HONE_RUN(ids.out, "tokenize", "--model", tiny(), "--decode");
    check(back, 0, NULL);
    assert_memory_equal(back.out, text, strlen(text)); /* and the line break behind the last ids */
    assert_string_equal(back.out + strlen(text), "\n");
    result one = HONE_RUN(NULL, "tokenize", "--model", tiny(), "Hello world");
    check(one, 0, NULL);
    assert_int_equal(strcspn(one.out, "\n"), strcspn(ids.out, "\n"));
    assert_memory_equal(one.out, ids.out, strlen(one.out));
    result special = HONE_RUN(NULL, "tokenize", "--model", tiny(), "<|im_start|>");
    check(special, 0, NULL);
    assert_null(strchr(special.out, ' ')); /* one token */
    result exact = HONE_RUN(NULL, "tokenize", "--model", tiny(), "--decode", special.out);
    check(exact, 0, NULL);
    assert_string_equal(exact.out, "<|im_start|>");
    result json = HONE_RUN("a\nb\n", "tokenize", "--model", tiny(), "--json");
    check(json, 0, NULL);
    assert_int_equal(json_lines(json.out, NULL), 2);
    release(ids), release(back), release(one), release(special), release(exact), release(json);
    REFUSES(1, "'x' is no token id", "tokenize", "--model", tiny(), "--decode", "1 x");
    REFUSES(1, "'99999999999' is no token id", "tokenize", "--model", tiny(), "--decode", "99999999999");
    REFUSES(1, "hone tokenize: ", "tokenize", "--model", tiny(), "--decode",
            "2000000000"); /* not in the vocabulary */
    result bad = HONE_RUN("1\n2 -3\n", "tokenize", "--model", tiny(), "--decode");
    check(bad, 1, "line 2: '-3' is no token id");
    release(bad);
}

static void forward_writes_logits(void **state)
{
    (void)state;
    const char *path = place("logits.npy");
    result r = HONE_RUN(NULL, "forward", "--model", tiny(), "--tokens", "3, 4,5", "--output", path, "--dtype",
                        "f32", "--quiet");
    check(r, 0, NULL);
    assert_string_equal(r.out, "");
    release(r);
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_tensor *logits = hone_npy_load(ctx, path);
    assert_hone_ok(ctx, hone_ctx_status(ctx));
    assert_int_equal(hone_tensor_shape(logits).rank, 2);
    assert_int_equal(hone_tensor_shape(logits).dim[0], 3);
    r = HONE_RUN(NULL, "forward", "--model", tiny(), "--tokens", "3,4,5", "--output", path, "--dtype", "f32", "--one-by-one", "--quiet");
    check(r, 0, NULL);
    release(r);
    hone_tensor *again = hone_npy_load(ctx, path);
    assert_true(again && hone_shape_equal(hone_tensor_shape(again), hone_tensor_shape(logits)));
    for (int64_t i = 0; i < hone_shape_count(hone_tensor_shape(again)); i++)
        assert_true(fabs(hone_tensor_get(again, i) - hone_tensor_get(logits, i)) < 1e-4);
    hone_tensor_free(again);
    hone_tensor_free(logits);
    hone_ctx_release(ctx);
    REFUSES(1, "hone forward: ", "forward", "--model", tiny(), "--tokens", "2000000000", "--output", path);
    REFUSES(1, "hone forward: ", "forward", "--model", tiny(), "--tokens", "1", "--output",
            place("no/folder/x.npy"));
}

static void generate_prints_the_continuation_alone(void **state)
{
    (void)state;
#define GENERATE "generate", "--model", tiny(), "--dtype", "f32", "--max-tokens", "8"
    result a = HONE_RUN(NULL, GENERATE, "--prompt", "Hello"),
           b = HONE_RUN("Hello", GENERATE, "--prompt", "-");
    check(a, 0, NULL);
    check(b, 0, NULL);
    assert_string_equal(a.out, b.out);
    result json = HONE_RUN(NULL, GENERATE, "--prompt", "Hello", "--json");
    check(json, 0, NULL);
    json_t *object = json_loads(json.out, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(object, "text")), a.out);
    assert_true(json_integer_value(json_object_get(object, "tokens")) <= 8);
    assert_int_equal(json_array_size(json_object_get(object, "ids")), json_integer_value(json_object_get(object, "tokens")));
    json_decref(object);
#define WARM "--temperature", "1.5", "--top-k", "50", "--top-p", "0.95", "--prompt", "Hello"
    result warm = HONE_RUN(NULL, GENERATE, WARM, "--seed", "7"),
           again = HONE_RUN(NULL, GENERATE, WARM, "--seed=7");
    assert_string_equal(warm.out, again.out);
    result likeliest = HONE_RUN(NULL, GENERATE, "--temperature", "1.5", "--min-p", "1", "--prompt", "Hello");
    assert_string_equal(likeliest.out, a.out);
    assert_string_not_equal(likeliest.out, warm.out);
    result other = HONE_RUN(NULL, GENERATE, "--repetition-penalty", "0.01", "--prompt", "Hello");
    check(other, 0, NULL);
    assert_string_not_equal(other.out, a.out);
    REFUSES(2, "repetition-penalty 0: must be more than 0", GENERATE, "--repetition-penalty", "0", "--prompt", "Hello");
    release(likeliest), release(other);
    release(a), release(b), release(json), release(warm), release(again);
    REFUSES(1, "the prompt is empty", GENERATE, "--prompt", "");
}

static void many_prompts_give_what_each_gives_alone(void **state)
{
    (void)state;
    static const char *const prompts[] = {"Hello", "One, two, three", "x", "The film begins slowly", "Hello"};
    char lines[200] = "", records[400] = "", all[4000] = "";
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++) {
        result one = HONE_RUN(NULL, GENERATE, "--prompt", prompts[i]);
        check(one, 0, NULL);
        snprintf(lines + strlen(lines), sizeof lines - strlen(lines), "%s%s\n", i == 2 ? "\n" : "", prompts[i]);
        snprintf(records + strlen(records), sizeof records - strlen(records), "{\"text\": \"%s\"}\n", prompts[i]);
        for (const char *c = one.out; *c; c++) snprintf(all + strlen(all), sizeof all - strlen(all), *c == '\n' ? "\\n" : "%c", *c);
        strcat(all, "\n");
        release(one);
    }
    result some = HONE_RUN(lines, GENERATE, "--prompts", "-", "--batch-size", "2");
    check(some, 0, NULL);
    assert_string_equal(some.out, all);
    char path[400];
    snprintf(path, sizeof path, "%s", place("prompts.jsonl"));
    write_all(path, records);
    result json = HONE_RUN(NULL, GENERATE, "--prompts", path, "--json");
    check(json, 0, NULL);
    assert_int_equal(json_lines(json.out, NULL), 5);
    release(some), release(json);
    /* several of one prompt: those of seeds 7, 8, 9 */
    result three = HONE_RUN(NULL, GENERATE, WARM, "--seed", "7", "--num-sequences", "3", "--json"),
           second = HONE_RUN(NULL, GENERATE, WARM, "--seed", "8", "--json");
    check(three, 0, NULL);
    assert_int_equal(json_lines(three.out, NULL), 3);
    json_t *a = json_loads(strchr(three.out, '\n') + 1, JSON_DISABLE_EOF_CHECK, NULL), *b = json_loads(second.out, 0, NULL);
    assert_true(json_equal(json_object_get(a, "ids"), json_object_get(b, "ids")));
    json_decref(a), json_decref(b);
    release(three), release(second);
    REFUSES(2, "exclude each other", GENERATE, "--prompt", "x", "--prompts", "y");
    REFUSES(2, "all be the same", GENERATE, "--prompt", "x", "--num-sequences", "2");
    REFUSES(1, "nowhere", GENERATE, "--prompts", place("nowhere"));
    REFUSES(1, "no prompts", GENERATE, "--prompts", "/dev/null");
}

static void a_prompt_longer_than_the_context_is_refused(void **state)
{
    (void)state;
    enum { WORDS = 100000 };
    char *prompt = calloc(1, 2 * WORDS + 1);
    for (size_t i = 0; i < WORDS; i++) memcpy(prompt + 2 * i, "7 ", 2);
    result r = HONE_RUN(prompt, "generate", "--model", tiny(), "--prompt", "-");
    check(r, 1, "the model's context holds");
    release(r);
    free(prompt);
}

static void chat_answers_every_line(void **state)
{
    (void)state;
    result r = HONE_RUN("Hello\n\nAnd again\n", "chat", "--model", tiny(), "--system", "Be brief.",
                        "--max-tokens", "4", "--json");
    check(r, 0, NULL);
    assert_int_equal(json_lines(r.out, NULL), 2);
    release(r);
}

static void output_that_cannot_be_written_fails_with_1(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK)) skip();
    char command[1200];
    snprintf(command, sizeof command, "%s info %s >/dev/full 2>%s", PROGRAM, tiny(), stream("err"));
    int status = system(command);
    assert_int_equal(WEXITSTATUS(status), 1);
    char *said = read_all(stream("err"));
    assert_non_null(strstr(said, "hone info: stdout: "));
    free(said);
}

/* ---- learning ---- */

/* A folder with train.jsonl and test.jsonl, the same four records. */
static const char *make_data(void)
{
    static char folder[300];
    snprintf(folder, sizeof folder, "%s", place("data"));
    mkdir(folder, 0700);
    static const char records[] = "{\"prompt\": \"Is 1 odd?\", \"completion\": \"yes\"}\n"
                                  "{\"prompt\": \"Is 2 odd?\", \"completion\": \"no\"}\n"
                                  "{\"prompt\": \"Is 3 odd?\", \"completion\": \"yes\"}\n"
                                  "{\"prompt\": \"Is 4 odd?\", \"completion\": \"no\"}\n";
    write_all(place("data/train.jsonl"), records);
    write_all(place("data/test.jsonl"), records);
    return folder;
}

static void has_labels(const json_t *o, size_t line)
{
    static const char *const shares[] = {"likelihood_accuracy", "generated_accuracy", "macro_f1",
                                         "token_accuracy"};
    assert_int_equal(line, 0);
    for (size_t i = 0; i < 4; i++) {
        double share = json_real_value(json_object_get(o, shares[i]));
        if (!json_is_real(json_object_get(o, shares[i])) || !(share >= 0 && share <= 1))
            fail_msg("%s", shares[i]);
    }
    assert_string_equal(json_string_value(json_object_get(o, "split")), "test");
    assert_int_equal(json_integer_value(json_object_get(o, "examples")), 4);
    assert_true(json_real_value(json_object_get(o, "loss")) > 0);
}

static void eval_measures_labels(void **state)
{
    (void)state;
    const char *data = make_data();
    result r =
        HONE_RUN(NULL, "eval", "--model", tiny(), "--data", data, "--labels", "yes, no", "--json", "--quiet");
    check(r, 0, NULL);
    assert_int_equal(json_lines(r.out, has_labels), 1);
    release(r);
    REFUSES(1, "hone eval: ", "eval", "--model", tiny(), "--data", data, "--labels", "yes,maybe", "--quiet");
    write_all(place("bad.jsonl"), "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": 1}\n");
    REFUSES(1, "line 2", "eval", "--model", tiny(), "--data", place("bad.jsonl"));
}

static void is_step(const json_t *o, size_t line)
{
    static const char *const numbers[] = {"loss", "learning_rate", "grad_norm", "tokens_per_second",
                                          "peak_memory_bytes"};
    assert_int_equal(json_integer_value(json_object_get(o, "step")), line + 1);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!json_is_number(json_object_get(o, numbers[i])))
            fail_msg("step %zu lacks %s", line + 1, numbers[i]);
}

static void finetune_trains_says_what_it_does_and_can_be_used(void **state)
{
    (void)state;
    char adapter[300], model[300];
    snprintf(adapter, sizeof adapter, "%s", place("adapter"));
    snprintf(model, sizeof model, "%s", place("merged.gguf"));
#define TRAIN                                                                                          \
    "finetune", "--model", tiny(), "--data", make_data(), "--output-dir", adapter, "--max-seq-length", \
        "128", "--dtype", "f32", "--no-packing", "--batch-size", "2"
    result r = HONE_RUN(NULL, TRAIN, "--max-steps", "3", "--json");
    check(r, 0, "[[");
    assert_non_null(strstr(r.err, "4 examples"));
    assert_non_null(strstr(r.err, "memory"));
    assert_int_equal(json_lines(r.out, is_step), 3);
    release(r);
    assert_int_equal(access(place("adapter/adapter_model.safetensors"), R_OK), 0);
    char *metrics = read_all(place("adapter/metrics.jsonl"));
    assert_int_equal(json_lines(metrics, is_step), 3);
    free(metrics);
    result text = HONE_RUN(NULL, GENERATE, "--adapter", adapter, "--prompt", "Hello");
    check(text, 0, NULL);
    result export = HONE_RUN(NULL, "export", "--model", tiny(), "--adapter", adapter, "--format", "gguf",
                             "--output", model);
    check(export, 0, NULL);
    result merged = HONE_RUN(NULL, "generate", "--model", model, "--dtype", "f32", "--max-tokens", "8",
                             "--prompt", "Hello");
    check(merged, 0, NULL);
    assert_string_equal(merged.out, text.out);
    release(text), release(export), release(merged);
}

static int count_events(const char *folder)
{
    int n = 0;
    DIR *open = opendir(folder);
    for (struct dirent *e; open && (e = readdir(open));) n += !strncmp(e->d_name, "events.out.tfevents.", 20);
    if (open) closedir(open);
    return n;
}

/* Of a chat without an assistant's turn nothing is learnt; an empty answer is learnt, and told. A second run replaces the first. */
static void records_that_teach_little_are_told_and_older_runs_replaced(void **state)
{
    (void)state;
#define TUNE(data, ...) \
    "finetune", "--model", tiny(), "--data", place(data), "--output-dir", place("again"), "--max-seq-length", "64", "--max-steps", "1", __VA_ARGS__
#define CHAT(role) "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": \"" role "\", \"content\": \"Yes\"}]}\n"
    write_all(place("alien.jsonl"), CHAT("alien"));
    REFUSES(1, "no example has a trained token; record 1 has no message of the role 'assistant', whose text is learnt, but of 'user', 'alien'",
            TUNE("alien.jsonl", "--quiet"));
    write_all(place("mixed.jsonl"), CHAT("assistant") CHAT("alien"));
    result r = HONE_RUN(NULL, TUNE("mixed.jsonl", "--json"));
    check(r, 0, "1 have nothing to learn from and are left out: record 2 has no message of the role 'assistant'");
    assert_null(strstr(r.err, "is there already"));
    release(r);
    assert_int_equal(count_events(place("again")), 1);
    write_all(place("again/events.out.tfevents.1700000000.host.42.100"), "of another program");
    write_all(place("blank.jsonl"), "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": \"a\", \"completion\": \"\"}\n");
    r = HONE_RUN(NULL, TUNE("blank.jsonl", "--json"));
    check(r, 0, "1 have an empty answer");
    assert_non_null(strstr(r.err, "again/adapter_model.safetensors is there already, and is replaced"));
    release(r);
    assert_int_equal(count_events(place("again")), 2);
    assert_int_equal(access(place("again/events.out.tfevents.1700000000.host.42.100"), F_OK), 0);
}

/* Ctrl-C as soon as the first step has been written. */
static void an_interrupted_run_saves_and_says_how_to_go_on(void **state)
{
    (void)state;
    char adapter[300], folder[300];
    snprintf(adapter, sizeof adapter, "%s", place("interrupted"));
    snprintf(folder, sizeof folder, "%s", make_data());
    const char *const argv[] = {"hone",         "finetune", "--model", tiny(), "--data",           folder,
                                "--output-dir", adapter,    "--dtype", "f32",  "--max-seq-length", "128",
                                "--max-steps",  "1000000",  "--json",  NULL};
    unlink(stream("out"));
    pid_t child = start(NULL, (char *const *)argv);
    int status = 0;
    for (bool began = false; !began;) {
        if (waitpid(child, &status, WNOHANG) == child)
            fail_msg("it ended by itself: %s", read_all(stream("err")));
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        char *text = access(stream("out"), R_OK) ? calloc(1, 1) : read_all(stream("out"));
        began = strchr(text, '\n') != NULL;
        free(text);
    }
    kill(child, SIGINT);
    result r = finish(child);
    check(r, 1, "--resume-from-checkpoint latest\n");
    size_t steps = json_lines(r.out, is_step);
    assert_true(steps >= 1);
    char most[32];
    snprintf(most, sizeof most, "%zu", steps + 2);
    release(r);
    result on = HONE_RUN(NULL, "finetune", "--model", tiny(), "--data", folder, "--output-dir", adapter,
                         "--dtype", "f32", "--max-seq-length", "128", "--max-steps", most, "--quiet",
                         "--json", "--resume-from-checkpoint", "latest");
    check(on, 0, NULL);
    assert_int_equal(json_lines(on.out, NULL), 2); /* what was done is not done again */
    release(on);
}

static void exports_are_models_again(void **state)
{
    (void)state;
    static const struct {
        const char *format, *option, *value, *name;
    } cases[] = {{"safetensors", "--dtype", "f32", "folder"}, {"safetensors", "--dtype", "bf16", "folder16"},
                 {"gguf", "--dtype", "f16", "f16.gguf"},      {"gguf", "--quantize", "Q8_0", "q8.gguf"},
                 {"gguf", "--quantize", "Q4_0", "q40.gguf"},  {"gguf", "--quantize", "Q4_1", "q41.gguf"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[300];
        snprintf(path, sizeof path, "%s", place(cases[i].name));
        result r = HONE_RUN(NULL, "export", "--model", tiny(), "--format", cases[i].format, cases[i].option,
                            cases[i].value, "--output", path);
        check(r, 0, NULL);
        result info = HONE_RUN(NULL, "info", "--json", path);
        check(info, 0, NULL);
        json_lines(info.out, is_description);
        result text = HONE_RUN(NULL, "generate", "--model", path, "--prompt", "Hello", "--max-tokens", "2");
        check(text, 0, NULL);
        release(r), release(info), release(text);
    }
}

int main(void)
{
    const struct CMUnitTest usage[] = {
        cmocka_unit_test(every_subcommand_explains_itself),
        cmocka_unit_test(the_version_is_the_librarys),
        cmocka_unit_test(wrong_usage_exits_with_2_and_suggests),
        cmocka_unit_test(numbers_are_checked),
        cmocka_unit_test(options_that_exclude_each_other_are_refused),
        cmocka_unit_test(missing_files_fail_with_1),
        cmocka_unit_test(config_files_are_checked),
        cmocka_unit_test(the_command_line_wins_over_the_config_file),
    };
    const struct CMUnitTest with_model[] = {
        cmocka_unit_test(info_describes_a_model),
        cmocka_unit_test(tokenize_and_decode_are_inverse),
        cmocka_unit_test(forward_writes_logits),
        cmocka_unit_test(generate_prints_the_continuation_alone),
        cmocka_unit_test(many_prompts_give_what_each_gives_alone),
        cmocka_unit_test(a_prompt_longer_than_the_context_is_refused),
        cmocka_unit_test(chat_answers_every_line),
        cmocka_unit_test(output_that_cannot_be_written_fails_with_1),
        cmocka_unit_test(eval_measures_labels),
        cmocka_unit_test(finetune_trains_says_what_it_does_and_can_be_used),
        cmocka_unit_test(records_that_teach_little_are_told_and_older_runs_replaced),
        cmocka_unit_test(an_interrupted_run_saves_and_says_how_to_go_on),
        cmocka_unit_test(exports_are_models_again),
    };
    int failed = cmocka_run_group_tests(usage, scratch_make, scratch_remove);
    return failed + cmocka_run_group_tests(with_model, make_folder, scratch_remove);
}
