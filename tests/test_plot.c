/* Pictures, TensorBoard events, the progress line. */
#include "scratch.h"

#include "hone/train.h"

#include <math.h>

/* What PLplot's PNG driver leaves to the end of the process is not ours; read by LeakSanitizer, else by
   nobody. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfontconfig\nleak:libpango\nleak:libglib\nleak:libplplot\n";
}

/* ---- pictures ---- */

/* False: PLplot is not there, which must be said. */
static bool drawn(hone_ctx *ctx, hone_status status)
{
    if (status == HONE_UNSUPPORTED) {
        assert_non_null(strstr(hone_error(ctx), "plplot"));
        return false;
    }
    assert_hone_ok(ctx, status);
    return true;
}

static void assert_folder_has(hone_ctx *ctx, size_t files)
{
    char **names;
    size_t count;
    assert_hone_ok(ctx, hone__list_folder(ctx, scratch_folder, &names, &count));
    assert_int_equal(count, files);
    hone__free(ctx, names);
}

/* How often `part` stands in the text. */
static int times(const char *text, const char *part)
{
    int n = 0;
    for (; (text = strstr(text, part)); text++) n++;
    return n;
}

/* No coordinate is NaN or infinite. */
static void assert_only_numbers(const char *svg)
{
    static const char *const wrong[] = {"nan,", ",nan", "-nan", "inf,", ",inf", "-inf", "\"inf"};
    for (size_t i = 0; i < HONE_ARRAY_LEN(wrong); i++) assert_null(strstr(svg, wrong[i]));
}

static const hone_plot_series three[] = {
    {.name = "raw",
     .count = 4,
     .x = (double[]){0, 1, 2, 3},
     .y = (double[]){4, NAN, 1, INFINITY},
     .faint = true},
    {.name = "none", .count = 0},
    {.name = "lone", .count = 1, .x = (double[]){2}, .y = (double[]){3}},
};

static void a_picture_is_written_whole_as_svg_and_as_png(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_status status =
        hone_plot_lines(ctx, scratch("loss.svg"), "A #1 & <title>", "step", "loss", 3, three);
    if (drawn(ctx, status)) {
        char *svg = hone__read_file(ctx, scratch("loss.svg"), 1 << 20, NULL);
        assert_non_null(svg);
        assert_non_null(strstr(svg, "viewBox=\"0 0 900 540\""));
        assert_non_null(strstr(svg, "</svg>"));
        assert_only_numbers(svg);
        hone__free(ctx, svg);
        assert_folder_has(ctx, 1); /* no temporary file stays */
    }
    status = hone_plot_lines(ctx, scratch("loss.png"), NULL, NULL, NULL, 3, three);
    if (drawn(ctx, status)) {
        size_t size;
        char *png = hone__read_file(ctx, scratch("loss.png"), 1 << 20, &size);
        assert_non_null(png);
        assert_true(size > 1000);
        /* signature, then IHDR: width and height, big endian */
        assert_memory_equal(png, "\x89PNG\r\n\x1a\n", 8);
        assert_memory_equal(png + 16, "\0\0\3\x84\0\0\2\x1C", 8);
        hone__free(ctx, png);
    }
    hone_ctx_release(ctx);
}

static void many_points_make_a_small_picture(void **state)
{
    (void)state;
    enum { N = 200000 };
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    double *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y);
    for (int i = 0; i < N; i++) x[i] = i, y[i] = i % 7 - (i == N / 2) * 100.0;
    hone_plot_series s = {.name = "s", .count = N, .x = x, .y = y};
    if (drawn(ctx, hone_plot_lines(ctx, scratch("many.svg"), "t", "x", "y", 1, &s))) {
        size_t size;
        char *svg = hone__read_file(ctx, scratch("many.svg"), 1 << 20, &size);
        assert_non_null(svg);
        assert_true(size < 200000);
        /* The one low point: 4 % of the range above the edge, 66 + 412 * 0.04 / 1.08 pixels. */
        assert_non_null(strstr(svg, ",81."));
        hone__free(ctx, svg);
    }
    free(x), free(y);
    hone_ctx_release(ctx);
}

static void extreme_values_are_drawn_or_left_out(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    static const double cases[][2] = {
        {0, 0},         {5, 5},         {-1e-320, 1e-320}, {1e299, -1e299}, {1e308, -1e308},
        {1, 1 + 1e-15}, {1e-12, 3e-12}, {1e9, 3e9},        {-5, 5},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++)
        for (size_t j = 0; j < HONE_ARRAY_LEN(cases); j++) {
            hone_plot_series s = {.name = "s", .count = 2, .x = cases[i], .y = cases[j]};
            if (!drawn(ctx, hone_plot_lines(ctx, scratch("x.svg"), "t", "x", "y", 1, &s))) continue;
            char *svg = hone__read_file(ctx, scratch("x.svg"), 1 << 20, NULL);
            assert_non_null(svg);
            assert_only_numbers(svg);
            assert_true(times(svg, "<text") >= 6); /* title, two labels, the legend, ticks */
            hone__free(ctx, svg);
        }
    hone_ctx_release(ctx);
}

/* classes x classes with `count` in each cell of the diagonal, 1 right of it. */
static hone_confusion *near_diagonal(hone_ctx *ctx, int classes, int count)
{
    hone_confusion *c = hone_confusion_new(ctx, classes);
    for (int32_t i = 0; i < classes; i++)
        for (int k = 0; k <= count; k++) {
            int32_t answer = k ? i : (i + 1) % classes;
            hone_tensor *t = hone_tensor_from_i32(ctx, HONE_SHAPE(1), &i), *p = hone_tensor_from_i32(ctx, HONE_SHAPE(1), &answer);
            assert_hone_ok(ctx, hone_confusion_update(c, p, t));
            hone_tensor_free(t), hone_tensor_free(p);
        }
    return c;
}

static void confusion_is_drawn_with_counts_while_there_is_room(void **state)
{
    (void)state;
    static const char *const names[] = {"setosa", "versicolor #2", "a class with a name that is much too long for its column, and <odd>"};
    static const struct {
        int classes;
        bool named, counts;
    } cases[] = {{3, true, true}, {1, false, true}, {20, false, true}, {200, false, false}};
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        hone_confusion *c = near_diagonal(ctx, cases[i].classes, 37);
        if (drawn(ctx, hone_plot_confusion(ctx, scratch("confusion.svg"), "title", c, cases[i].named ? names : NULL))) {
            char *svg = hone__read_file(ctx, scratch("confusion.svg"), 1 << 24, NULL);
            assert_non_null(svg);
            assert_only_numbers(svg);
            /* texts are written character by character: 37; with one class 38 */
            int counts = times(svg, ">&#x33;&#x37;<") + times(svg, ">&#x33;&#x38;<");
            assert_int_equal(counts, cases[i].counts ? cases[i].classes : 0);
            assert_int_equal(times(svg, "<polyline"), (cases[i].classes > 1 ? 2 * cases[i].classes : 1) + 1); /* and one for zeros */
            assert_true(times(svg, "<text") <= (cases[i].counts ? cases[i].classes * cases[i].classes : 0) + 2 * cases[i].classes + 3);
            hone__free(ctx, svg);
        }
        hone_confusion_free(c);
    }
    hone_confusion *many = hone_confusion_new(ctx, 257);
    assert_int_equal(hone_plot_confusion(ctx, scratch("many.svg"), NULL, many, NULL), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "257 classes are more than"));
    hone_confusion_free(many);
    hone_ctx_release(ctx);
}

/* How many lines there are in the colour of series i, of a guide (-1), or in the paler one of series i - 100. */
static int lines_in(const char *svg, int i)
{
    static const char *const colours[] = {"#0072B2", "#D55E00", "#009E73"}, *const pale[] = {"#99C7E1", "#EFBF99", "#99D9C7"};
    char stroke[40];
    snprintf(stroke, sizeof stroke, "stroke=\"%s\"", i < 0 ? "#787C82" : i >= 100 ? pale[i - 100] : colours[i]);
    return times(svg, stroke);
}

static char *svg_of(hone_ctx *ctx, const char *name)
{
    char *svg = hone__read_file(ctx, scratch(name), 1 << 20, NULL);
    assert_non_null(svg);
    assert_only_numbers(svg);
    return svg;
}

static void a_history_is_drawn_by_quantity_or_whole(void **state)
{
    (void)state;
    static const double f1[] = {0.2, 0.5, 0.6};
    hone_epoch epochs[] = {{1, 0.5, 1.2, NAN, 1, &f1[0], NULL}, {0.5, 0.75, 0.8, NAN, 1, &f1[1], NULL}, {0.3, 0.9, 0.7, NAN, 1, &f1[2], NULL}};
    hone_history h = {.epochs = epochs, .n_epochs = 3, .n_metrics = 1, .metric_names = (const char *[]){"f1"}};
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    if (!drawn(ctx, hone_plot_history(ctx, scratch("history.svg"), "t", &h, "loss"))) skip();
    char *svg = svg_of(ctx, "history.svg");
    assert_int_equal(lines_in(svg, 0), 2); /* and its line in the legend */
    assert_int_equal(lines_in(svg, 1), 2);
    hone__free(ctx, svg);
    assert_hone_ok(ctx, hone_plot_history(ctx, scratch("history.svg"), "t", &h, NULL));
    svg = svg_of(ctx, "history.svg");
    assert_int_equal(lines_in(svg, 100), 2); /* loss */
    assert_int_equal(lines_in(svg, 0), 2);   /* val_loss; there is no val_accuracy, nor a val_f1 */
    assert_int_equal(lines_in(svg, 1), 2);   /* accuracy */
    assert_int_equal(lines_in(svg, 2), 2);   /* f1 */
    hone__free(ctx, svg);
    assert_int_equal(hone_plot_history(ctx, scratch("history.svg"), "t", &h, "recall"), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "the history of 3 epochs has no recall"));
    h.n_epochs = 0;
    assert_int_equal(hone_plot_history(ctx, scratch("history.svg"), "t", &h, NULL), HONE_INVALID);
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    hone_ctx_release(ctx);
}

static hone_metric *roc_of(hone_ctx *ctx, int64_t rows, int64_t classes, const float *scores, const int32_t *targets)
{
    hone_metric *m = hone_metric_new(ctx, "roc_auc");
    hone_tensor *p = hone_tensor_from_f32(ctx, classes > 1 ? HONE_SHAPE(rows, classes) : HONE_SHAPE(rows), scores);
    hone_tensor *t = hone_tensor_from_i32(ctx, HONE_SHAPE(rows), targets);
    assert_hone_ok(ctx, hone_metric_update(m, p, t));
    hone_tensor_free(p), hone_tensor_free(t);
    return m;
}

/* Characters of a text in the picture: PLplot writes them one by one. */
static bool says(const char *svg, const char *text)
{
    char coded[400] = "";
    for (size_t n = 0; *text; text++) n += (size_t)snprintf(coded + n, sizeof coded - n, "&#x%x;", (unsigned)(unsigned char)*text);
    return strstr(svg, coded) != NULL;
}

static void curves_of_rates_are_drawn_with_their_areas(void **state)
{
    (void)state;
    static const char *const names[] = {"setosa", "versicolor", "virginica"};
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    /* of 2 x 2 pairs, lacking are in order */
    hone_metric *two = roc_of(ctx, 4, 1, (const float[]){0.1f, 0.4f, 0.35f, 0.8f}, (const int32_t[]){0, 0, 1, 1});
    if (!drawn(ctx, hone_plot_roc(ctx, scratch("roc.svg"), "t", two, NULL))) skip();
    char *svg = svg_of(ctx, "roc.svg");
    assert_true(lines_in(svg, 0) == 2 && lines_in(svg, 1) == 0 && says(svg, "area 0.750") && says(svg, "chance"));
    assert_true(lines_in(svg, -1) >= 2);
    hone__free(ctx, svg);
    hone_metric_free(two);
    two = roc_of(ctx, 4, 2, (const float[]){0.9f, 0.1f, 0.6f, 0.4f, 0.65f, 0.35f, 0.2f, 0.8f}, (const int32_t[]){0, 0, 1, 1});
    assert_hone_ok(ctx, hone_plot_roc(ctx, scratch("roc.svg"), "t", two, names));
    svg = svg_of(ctx, "roc.svg");
    assert_true(lines_in(svg, 0) == 2 && lines_in(svg, 1) == 0 && says(svg, "versicolor, area 0.750"));
    hone__free(ctx, svg);
    /* no row is of class 1: it has no curve */
    hone_metric *lacking = roc_of(ctx, 3, 3, (const float[]){0.7f, 0.2f, 0.1f, 0.3f, 0.3f, 0.4f, 0.6f, 0.1f, 0.3f}, (const int32_t[]){0, 2, 0});
    assert_hone_ok(ctx, hone_plot_roc(ctx, scratch("roc.svg"), "t", lacking, names));
    svg = svg_of(ctx, "roc.svg");
    assert_true(lines_in(svg, 0) == 2 && lines_in(svg, 1) == 2 && lines_in(svg, 2) == 0);
    assert_true(says(svg, "setosa, area 1.000") && says(svg, "virginica, area 1.000") && !says(svg, "versicolor"));
    hone__free(ctx, svg);
    hone_metric_free(two), hone_metric_free(lacking);
    hone_ctx_release(ctx);
}

static void curves_of_rates_that_are_not_there_are_refused(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone_metric *none = hone_metric_new(ctx, "roc_auc"), *other = hone_metric_new(ctx, "average_precision");
    hone_metric *one = roc_of(ctx, 2, 1, (const float[]){0.1f, 0.4f}, (const int32_t[]){1, 1});
    hone_metric *many = roc_of(ctx, 1, 21, (const float[21]){0}, (const int32_t[]){1});
    assert_int_equal(hone_plot_roc(ctx, scratch("roc.svg"), "t", none, NULL), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "has seen no rows"));
    assert_int_equal(hone_plot_roc(ctx, scratch("roc.svg"), "t", other, NULL), HONE_STATE);
    assert_int_equal(hone_plot_roc(ctx, scratch("roc.svg"), "t", one, NULL), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "targets of one kind only"));
    assert_int_equal(hone_plot_roc(ctx, scratch("roc.svg"), "t", many, NULL), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), "21 classes are more than"));
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    hone_metric_free(none), hone_metric_free(other), hone_metric_free(one), hone_metric_free(many);
    hone_ctx_release(ctx);
}

static void pictures_that_cannot_be_are_refused(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    assert_int_equal(hone_plot_lines(ctx, scratch("loss.jpg"), "t", "x", "y", 3, three), HONE_INVALID);
    assert_non_null(strstr(hone_error(ctx), ".svg or .png"));
    assert_int_equal(hone_plot_lines(ctx, ".png", "t", "x", "y", 3, three), HONE_INVALID);
    hone_status status = hone_plot_lines(ctx, scratch("absent/loss.png"), "t", "x", "y", 3, three);
    assert_true(status == HONE_IO || status == HONE_UNSUPPORTED);
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    hone_ctx_release(ctx);
}

/* ---- TensorBoard ---- */

/* CRC-32C bit by bit, and masked; the library has a table. */
static uint32_t crc(const char *data, size_t size)
{
    uint32_t c = ~0u;
    for (size_t i = 0; i < size; i++) {
        c ^= (unsigned char)data[i];
        for (int k = 0; k < 8; k++) c = c >> 1 ^ (c & 1 ? 0x82F63B78u : 0);
    }
    return ((~c >> 15) | (~c << 17)) + 0xA282EAD8u;
}

static uint64_t number_at(const char *at, int bytes)
{
    uint64_t v = 0;
    for (int i = bytes - 1; i >= 0; i--) v = v << 8 | (unsigned char)at[i];
    return v;
}

/* The next record's message, its checksums checked; NULL at the end. */
static const char *next_event(const char **at, const char *end, size_t *size)
{
    if (*at == end) return NULL;
    assert_true(end - *at >= 16);
    *size = (size_t)number_at(*at, 8);
    assert_true(*size <= (size_t)(end - *at) - 16);
    assert_int_equal(number_at(*at + 8, 4), crc(*at, 8));
    const char *event = *at + 12;
    assert_int_equal(number_at(event + *size, 4), crc(event, *size));
    *at = event + *size + 4;
    return event;
}

static void events_are_records_that_tensorboard_reads(void **state)
{
    (void)state;
    assert_int_equal(crc("123456789", 9),
                     ((0xE3069283u >> 15) | (0xE3069283u << 17)) + 0xA282EAD8u); /* RFC 3720, B.4 */
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    const char *folder = scratch("runs/a");
    hone_events *events = hone_events_open(ctx, folder), *resumed = hone_events_open(ctx, folder);
    if (!events || !resumed) fail_msg("%s", hone_error(ctx));
    assert_hone_ok(ctx, hone_events_scalar(events, "loss", 1, 0.5));
    assert_hone_ok(ctx, hone_events_scalar(events, "loss", 300, NAN));
    char **names;
    size_t count, size, length;
    assert_hone_ok(ctx, hone__list_folder(ctx, folder, &names, &count));
    assert_int_equal(count, 2); /* never into the older file */
    assert_memory_equal(names[0], "events.out.tfevents.", 20);
    char *path = hone__join_path(ctx, folder, names[0]);
    char *data = hone__read_file(ctx, path, 1 << 20, &size); /* while still open: each write is flushed */
    assert_non_null(data);
    const char *at = data, *event;
    /* 1: wall_time, fixed64; 2: step, varint; 3: file_version */
    event = next_event(&at, data + size, &length);
    assert_int_equal(length, 9 + 2 + 15);
    assert_int_equal(event[0], 1 << 3 | 1);
    assert_memory_equal(event + 9,
                        "\x10\0\x1A\x0D"
                        "brain.Event:2",
                        17);
    double wall;
    memcpy(&wall, event + 1, 8);
    assert_true(wall > 1.6e9);
    event = next_event(&at, data + size, &length);
    assert_memory_equal(event + 9, "\x10\1\x3A\2\x08\1", 6); /* 7: session_log {1: status START} */
    assert_int_equal(length, 9 + 6);
    event = next_event(&at, data + size, &length);
    assert_memory_equal(event + 9, "\x10\1\x2A\x0D\x0A\x0B\x0A\4loss\x15\0\0\0\x3F", 17); /* 0.5 */
    event = next_event(&at, data + size, &length);
    assert_memory_equal(event + 9, "\x10\xAC\2\x2A", 4); /* step 300 */
    assert_null(next_event(&at, data + size, &length));
    hone__free(ctx, data);
    hone__free(ctx, path);
    hone__free(ctx, names);
    assert_hone_ok(ctx, hone_events_close(events));
    assert_hone_ok(ctx, hone_events_close(resumed));
    assert_int_equal(hone_events_close(NULL), HONE_OK);
    assert_int_equal(hone_events_scalar(NULL, "loss", 1, 1), HONE_INVALID);
    assert_hone_ok(ctx, hone_write_file(ctx, scratch("file"), "a", 1));
    assert_null(hone_events_open(ctx, scratch("file")));
    assert_int_equal(hone_ctx_status(ctx), HONE_IO);
    hone_ctx_release(ctx);
}

/* ---- progress ---- */

static void assert_progress(hone_progress p, size_t size, const char *expected)
{
    char text[256];
    memset(text, '#', sizeof text);
    assert_int_equal(hone_progress_text(text, size, &p), strlen(expected));
    assert_string_equal(text, expected);
    assert_int_equal(text[size], '#');
}

static void progress_is_one_line_that_fits(void **state)
{
    (void)state;
    const hone_progress_value loss[] = {{"loss", 1.234}};
    const hone_progress p = {.done = 240,
                             .total = 400,
                             .values = loss,
                             .n_values = 1,
                             .learning_rate = 1e-4,
                             .rate = 812,
                             .unit = "tok",
                             .seconds_left = 133};
    const char *whole = "[======>   ] 240/400  loss 1.234  lr 1.0e-04  812 tok/s  2:13 left";
    assert_progress(p, 200, whole);
    assert_progress(p, strlen(whole) + 1, whole);
    assert_progress(p, strlen(whole), "[======>   ] 240/400  loss 1.234  lr 1.0e-04  812 tok/s");
    assert_progress(p, 30, "[======>   ] 240/400");
    assert_progress(p, 5, "");
    assert_int_equal(hone_progress_text(NULL, 0, &p), 0);

    assert_progress((hone_progress){.done = 0, .total = 3, .width = 4}, 80, "[>   ] 0/3");
    assert_progress((hone_progress){.done = 3, .total = 3, .width = 4}, 80, "[====] 3/3");
    assert_progress((hone_progress){.done = 9, .total = 3, .width = 4}, 80, "[====] 9/3");
    assert_progress((hone_progress){.done = -1, .total = 3, .width = 4}, 80, "[>   ] -1/3");
    assert_progress((hone_progress){.done = 7}, 80, "7");
    assert_progress((hone_progress){.done = 7, .rate = 1.5, .seconds_left = 3723}, 80,
                    "7  1.5 step/s  1:02:03 left");
    assert_progress((hone_progress){.done = 7, .seconds_left = 3 * 86400 + 4 * 3600}, 80, "7  3d 4h left");
    assert_progress((hone_progress){.done = 7, .seconds_left = 0.2}, 80, "7  0:00 left");
    assert_progress((hone_progress){.done = 7, .seconds_left = NAN, .rate = NAN}, 80, "7");

    const hone_progress_value values[] = {{"a", 1.2}, {"b", 1234}, {"c", 1.5e-6}, {"d", NAN}, {"e", 0}};
    assert_progress((hone_progress){.done = 7, .values = values, .n_values = 5}, 120,
                    "7  a 1.200  b 1234  c 1.500e-06  d nan  e 0.000");
}

/* ---- memory that runs out ---- */

static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (int64_t n = 2;; n++) { /* the first is the context itself */
        counting c = {.fail_at = n};
        hone_ctx *ctx = hone_ctx_new(.threads = 1, .allocator = {counting_alloc, counting_free, &c});
        hone_status status = hone_plot_lines(ctx, scratch("m.svg"), "t", "x", "y", 3, three);
        hone_history h = {.epochs = &(hone_epoch){1, 2, 3, 4, 5, NULL, NULL}, .n_epochs = 1};
        if (status != HONE_MEMORY) status = hone_plot_history(ctx, scratch("m.svg"), "t", &h, NULL);
        hone_metric *roc = hone_metric_new(ctx, "roc_auc");
        hone_tensor *p = hone_tensor_from_f32(ctx, HONE_SHAPE(2), (const float[]){0.1f, 0.2f});
        hone_tensor *t = hone_tensor_from_i32(ctx, HONE_SHAPE(2), (const int32_t[]){0, 1});
        if (roc && p && t && hone_metric_update(roc, p, t) == HONE_OK) status = hone_plot_roc(ctx, scratch("m.svg"), "t", roc, NULL);
        hone_metric_free(roc), hone_tensor_free(p), hone_tensor_free(t);
        hone_events *events = hone_events_open(ctx, scratch("runs/m"));
        if (events && status != HONE_MEMORY) status = hone_events_scalar(events, "loss", 1, 0.5);
        hone_events_close(events);
        bool reached = c.calls >= n;
        assert_int_equal(hone_ctx_status(ctx), reached ? HONE_MEMORY : HONE_OK);
        assert_true(reached || (events && status == HONE_OK));
        hone_ctx_release(ctx);
        assert_int_equal(c.live, 0);
        if (!reached) break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_picture_is_written_whole_as_svg_and_as_png),
        cmocka_unit_test(many_points_make_a_small_picture),
        cmocka_unit_test(extreme_values_are_drawn_or_left_out),
        cmocka_unit_test(confusion_is_drawn_with_counts_while_there_is_room),
        cmocka_unit_test(a_history_is_drawn_by_quantity_or_whole),
        cmocka_unit_test(curves_of_rates_are_drawn_with_their_areas),
        cmocka_unit_test(curves_of_rates_that_are_not_there_are_refused),
        cmocka_unit_test(pictures_that_cannot_be_are_refused),
        cmocka_unit_test(events_are_records_that_tensorboard_reads),
        cmocka_unit_test(progress_is_one_line_that_fits),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
