#include "scratch.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- errors ---- */

static void the_first_building_error_stays(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    assert_int_equal(hone__fail(ctx, HONE_SHAPE, "first %d", 1), HONE_SHAPE);
    assert_int_equal(hone__fail(ctx, HONE_IO, "second"), HONE_SHAPE);
    assert_int_equal(hone_ctx_status(ctx), HONE_SHAPE);
    assert_string_equal(hone_error(ctx), "first 1");
    assert_false(hone__ok(ctx));
    hone_clear_error(ctx);
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    assert_string_equal(hone_error(ctx), "");
    hone_ctx_release(ctx);
}

static void an_error_of_a_run_is_described_but_does_not_stick(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    assert_int_equal(hone__fail_run(ctx, HONE_IO, "disk"), HONE_IO);
    assert_string_equal(hone_error(ctx), "disk");
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    hone__error_prefix(ctx, "epoch %d", 3);
    assert_string_equal(hone_error(ctx), "epoch 3: disk");
    hone_ctx_release(ctx);
}

static void a_long_message_is_cut_and_not_written_beyond(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    char text[4096];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    hone__fail(ctx, HONE_INVALID, "%s", text);
    assert_true(strlen(hone_error(ctx)) < sizeof ctx->error);
    hone__error_prefix(ctx, "%s", text);
    assert_true(strlen(hone_error(ctx)) < sizeof ctx->error);
    hone_ctx_release(ctx);
}

static void every_status_has_a_name_and_a_text(void **state)
{
    (void)state;
    for (int i = 0; i < HONE_STATUS_COUNT; i++) {
        assert_true(strlen(hone_status_name((hone_status)i)) > 1);
        assert_true(strlen(hone_status_text((hone_status)i)) > 1);
    }
    assert_string_equal(hone_status_name((hone_status)999), "?");
    assert_string_equal(hone_status_name((hone_status)-1), "?");
}

static void options_that_make_no_sense_give_no_context(void **state)
{
    (void)state;
    assert_null(hone_ctx_new(.threads = -1));
    assert_null(hone_ctx_new(.allocator = {.alloc = counting_alloc}));
    hone_ctx *ctx = hone_ctx_new_opt(NULL);
    assert_non_null(ctx);
    assert_true(hone_threads(ctx) >= 1);
    hone_ctx_release(ctx);
    hone_ctx_release(NULL);
}

/* ---- memory ---- */

static void allocations_are_aligned_and_counted(void **state)
{
    (void)state;
    counting c = {0};
    hone_ctx *ctx = hone_ctx_new(.threads = 1, .allocator = {counting_alloc, counting_free, &c});
    for (size_t size = 0; size < 300; size += 7) {
        char *memory = hone__alloc(ctx, size);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % HONE_ALIGN, 0);
        memset(memory, 1, size);
        hone__free(ctx, memory);
    }
    assert_int_equal(ctx->bytes, 0);
    assert_true(ctx->peak_bytes > 0);
    assert_null(hone__calloc(ctx, SIZE_MAX / 2, 3));
    assert_int_equal(hone_ctx_status(ctx), HONE_MEMORY);
    assert_null(hone__alloc(ctx, SIZE_MAX));
    hone_ctx_release(ctx);
    assert_int_equal(c.live, 0);
}

static void an_arena_hands_out_zeroed_memory_that_does_not_overlap(void **state)
{
    (void)state;
    counting c = {0};
    hone_ctx *ctx = hone_ctx_new(.threads = 1, .allocator = {counting_alloc, counting_free, &c});
    hone__arena arena;
    hone__arena_init(&arena, ctx);
    unsigned char *all[400];
    for (size_t i = 0; i < 400; i++) {
        all[i] = hone__arena_alloc(&arena, i * 3 + 1);
        assert_non_null(all[i]);
        for (size_t j = 0; j < i * 3 + 1; j++) assert_int_equal(all[i][j], 0);
        memset(all[i], (int)(i % 255 + 1), i * 3 + 1);
    }
    for (size_t i = 0; i < 400; i++)
        for (size_t j = 0; j < i * 3 + 1; j++) assert_int_equal(all[i][j], i % 255 + 1);
    assert_non_null(hone__arena_alloc(&arena, 1 << 20)); /* larger than a block */
    assert_string_equal(hone__arena_strdup(&arena, "name"), "name");
    hone__arena_free(&arena);
    hone_ctx_release(ctx);
    assert_int_equal(c.live, 0);
}

static void a_buffer_keeps_what_was_added(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    hone__buffer buffer = {0};
    for (int i = 0; i < 1000; i++) {
        assert_true(hone__buffer_print(ctx, &buffer, "%03d", i));
        assert_true(hone__buffer_add(ctx, &buffer, ",", 1));
    }
    assert_int_equal(buffer.size, 4000);
    assert_int_equal(strlen(buffer.data), 4000);
    assert_memory_equal(buffer.data + 3996, "999,", 5);
    assert_false(hone__buffer_add(ctx, &buffer, ",", SIZE_MAX - 10));
    hone__buffer_free(ctx, &buffer);
    assert_null(buffer.data);
    hone_ctx_release(ctx);
}

static hone_status use_memory(hone_ctx *ctx)
{
    hone__arena arena;
    hone__arena_init(&arena, ctx);
    hone__buffer buffer = {0};
    char **names = NULL;
    size_t count;
    char *text = hone__format(ctx, "%s-%d", "text", 5);
    hone__arena_strdup(&arena, "one");
    hone__arena_alloc(&arena, 100000);
    hone__buffer_print(ctx, &buffer, "%0200d", 7);
    hone_write_file(ctx, scratch("alloc/deep/file"), "x", 1);
    hone__make_folder(ctx, scratch("alloc/deep"));
    hone_write_file(ctx, scratch("alloc/deep/file"), "x", 1);
    hone__list_folder(ctx, scratch("alloc/deep"), &names, &count);
    hone__free(ctx, hone__read_file(ctx, scratch("alloc/deep/file"), 10, &count));
    hone__free(ctx, hone__join_path(ctx, "a", "b"));
    hone__free(ctx, names);
    hone__free(ctx, text);
    hone__buffer_free(ctx, &buffer);
    hone__arena_free(&arena);
    return hone_ctx_status(ctx);
}

static void a_failed_allocation_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    for (int64_t n = 1;; n++) {
        counting c = {.fail_at = n};
        hone_ctx *ctx = hone_ctx_new(.threads = 1, .allocator = {counting_alloc, counting_free, &c});
        if (!ctx) {
            assert_int_equal(n, 1);
            continue;
        }
        hone_status status = use_memory(ctx);
        hone_ctx_release(ctx);
        assert_int_equal(c.live, 0);
        if (c.calls < n) {
            assert_int_equal(status, HONE_OK);
            break;
        }
        assert_int_equal(status, HONE_MEMORY);
        assert_true(n < 1000);
    }
}

/* ---- randomness ---- */

/* Printed by scripts/golden/make_io_golden.py, whose Philox passes Random123's kat_vectors; ours has a
   64-bit counter, the upper half of the published one being zero. */
static void philox_gives_the_published_numbers(void **state)
{
    (void)state;
    static const struct {
        uint64_t key, index;
        uint32_t out[4];
    } known[] = {
        {0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {UINT64_MAX, UINT64_MAX, {0x4d18d7d2, 0x430ac65a, 0xbd2fa22a, 0x0afae10d}},
        {0x299f31d0a4093822, 0x85a308d3243f6a88, {0xe69c9c31, 0xb5a3d762, 0xe733bfc1, 0x341a787c}},
    };
    for (size_t i = 0; i < HONE_ARRAY_LEN(known); i++) {
        uint32_t out[4];
        hone__philox(known[i].key, known[i].index, out);
        assert_memory_equal(out, known[i].out, sizeof out);
    }
}

static void uniform_and_normal_numbers_have_their_moments(void **state)
{
    (void)state;
    enum { N = 200000 };
    double sum = 0, sum_normal = 0, squares = 0;
    for (uint64_t i = 0; i < N; i++) {
        float u = hone__random_uniform(3, i), z = hone__random_normal(4, i);
        assert_true(u >= 0.0f && u < 1.0f);
        sum += (double)u;
        sum_normal += (double)z;
        squares += (double)z * (double)z;
    }
    /* Six standard errors. */
    assert_true(sum / N > 0.496 && sum / N < 0.504);
    assert_true(sum_normal / N > -0.0135 && sum_normal / N < 0.0135);
    assert_true(squares / N > 0.98 && squares / N < 1.02);
}

static void numbers_below_a_bound_stay_below_and_reach_all(void **state)
{
    (void)state;
    int seen[7] = {0};
    for (uint64_t i = 0; i < 7000; i++) {
        uint64_t x = hone__random_below(9, i, 7);
        assert_true(x < 7);
        seen[x]++;
    }
    for (int i = 0; i < 7; i++) assert_true(seen[i] > 800 && seen[i] < 1200);
    assert_int_equal(hone__random_below(9, 1, 1), 0);
}

static void a_shuffle_depends_on_its_key_alone(void **state)
{
    (void)state;
    static const int64_t expected[8] = {1, 0, 4, 2, 7, 3, 6, 5}; /* make_io_golden.py */
    int64_t order[1000], again[8];
    for (int64_t i = 0; i < 8; i++) order[i] = again[i] = i;
    hone__shuffle(5, order, 8);
    assert_memory_equal(order, expected, sizeof expected);
    hone__shuffle(6, again, 8);
    assert_memory_not_equal(again, expected, sizeof expected);
    char seen[1000] = {0};
    for (int64_t i = 0; i < 1000; i++) order[i] = i;
    hone__shuffle(1, order, 1000);
    for (int i = 0; i < 1000; i++) {
        assert_true(order[i] >= 0 && order[i] < 1000 && !seen[order[i]]);
        seen[order[i]] = 1;
    }
    hone__shuffle(1, NULL, 0);
}

static void keys_and_hashes_tell_their_parts_apart(void **state)
{
    (void)state;
    assert_int_not_equal(hone__key(1, 2), hone__key(2, 1));
    assert_int_not_equal(hone__key(0, 0), hone__key(0, 1));
    assert_int_not_equal(hone__hash("ab", 2, 0), hone__hash("ba", 2, 0));
    assert_int_not_equal(hone__hash("ab", 2, 0), hone__hash("ab", 2, 1));
    assert_int_equal(hone__hash("ab", 2, 7), hone__hash("abc", 2, 7));
}

/* ---- threads ---- */

typedef struct visits {
    atomic_int *seen;
    atomic_int calls;
} visits;

static void visit(void *arg, int64_t begin, int64_t end)
{
    visits *v = arg;
    atomic_fetch_add(&v->calls, 1);
    for (int64_t i = begin; i < end; i++) atomic_fetch_add(&v->seen[i], 1);
}

static void parallel_for_visits_each_index_once(void **state)
{
    (void)state;
    static const int64_t sizes[] = {0, 1, 2, 7, 64, 1000, 1001}, grains[] = {0, 1, 3, 1000, 5000};
    for (int threads = 1; threads <= 5; threads++) {
        hone_ctx *ctx = hone_ctx_new(.threads = threads);
        for (size_t s = 0; s < HONE_ARRAY_LEN(sizes); s++)
            for (size_t g = 0; g < HONE_ARRAY_LEN(grains); g++) {
                atomic_int seen[1001];
                for (int i = 0; i < 1001; i++) atomic_init(&seen[i], 0);
                visits v = {.seen = seen};
                hone__parallel_for(ctx, sizes[s], grains[g], visit, &v);
                for (int64_t i = 0; i < 1001; i++) assert_int_equal(atomic_load(&seen[i]), i < sizes[s]);
                assert_true(atomic_load(&v.calls) <= threads);
                if (sizes[s] && sizes[s] <= grains[g]) assert_int_equal(atomic_load(&v.calls), 1);
            }
        hone_ctx_release(ctx);
    }
}

/* ---- the operating system ---- */

static void assert_content(hone_ctx *ctx, const char *path, const char *expected)
{
    size_t size;
    char *text = hone__read_file(ctx, path, 1 << 20, &size);
    if (!text) fail_msg("%s", hone_error(ctx));
    assert_int_equal(size, strlen(expected));
    assert_string_equal(text, expected);
    hone__free(ctx, text);
}

static size_t files_in(hone_ctx *ctx, const char *folder)
{
    char **names;
    size_t count;
    assert_hone_ok(ctx, hone__list_folder(ctx, folder, &names, &count));
    hone__free(ctx, names);
    return count;
}

static void a_file_is_replaced_whole_and_keeps_its_mode(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    assert_hone_ok(ctx, hone__make_folder(ctx, scratch("replace")));
    const char *path = scratch("replace/file");
    assert_hone_ok(ctx, hone_write_file(ctx, path, "old", 3));
    assert_int_equal(chmod(path, 0640), 0);
    hone__file file;
    assert_hone_ok(ctx, hone__file_create(ctx, &file, path));
    hone__file_write(&file, "newer", 5);
    hone__file_pad(&file, 8);
    hone__file_pad(&file, 8);
    fprintf(file.stream, "%d", 42);
    assert_content(ctx, path, "old"); /* not before commit */
    assert_hone_ok(ctx, hone__file_commit(&file));
    assert_int_equal(hone__file_size(path), 10);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(files_in(ctx, scratch("replace")), 1); /* no temporary file is left */

    assert_hone_ok(ctx, hone__file_create(ctx, &file, path));
    hone__file_write(&file, "abandoned", 9);
    hone__file_abandon(&file);
    hone__file_abandon(&file);
    assert_int_equal(hone__file_size(path), 10);
    assert_int_equal(files_in(ctx, scratch("replace")), 1);
    hone_ctx_release(ctx);
}

static void a_full_disk_leaves_the_old_file_and_says_why(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    assert_hone_ok(ctx, hone__make_folder(ctx, scratch("full")));
    const char *path = scratch("full/file");
    assert_hone_ok(ctx, hone_write_file(ctx, path, "old", 3));
    char *large = hone__calloc(ctx, 1, 1 << 20);
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 1 << 16;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    hone_status status = hone_write_file(ctx, path, large, 1 << 20);
    hone_status small = hone_write_file(ctx, scratch("full/small"), "fits", 4);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, HONE_IO);
    assert_int_equal(small, HONE_OK);
    assert_non_null(strstr(hone_error(ctx), path));
    assert_non_null(strstr(hone_error(ctx), strerror(EFBIG)));
    assert_int_equal(hone_ctx_status(ctx), HONE_OK);
    assert_content(ctx, path, "old");
    assert_int_equal(files_in(ctx, scratch("full")), 2);
    hone__free(ctx, large);
    hone_ctx_release(ctx);
}

static void what_is_no_regular_file_is_neither_replaced_nor_read(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    const char *pipe = scratch("pipe");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(hone_write_file(ctx, pipe, "x", 1), HONE_IO);
    assert_int_equal(hone_write_file(ctx, "/dev/null", "x", 1), HONE_IO);
    assert_int_equal(hone_write_file(ctx, scratch_folder, "x", 1), HONE_IO);
    assert_int_equal(hone_write_file(ctx, scratch("no/such/folder"), "x", 1), HONE_IO);
    hone__map map;
    assert_int_equal(hone__map_open(ctx, pipe, &map), HONE_IO); /* and does not hang */
    assert_non_null(strstr(hone_error(ctx), pipe));
    assert_null(map.data);
    hone_clear_error(ctx);
    assert_null(hone__read_file(ctx, "/dev/zero", 100, NULL));
    hone_clear_error(ctx);
    assert_null(hone__read_file(ctx, scratch("absent"), 100, NULL));
    assert_int_equal(hone_ctx_status(ctx), HONE_IO);
    hone_ctx_release(ctx);
}

#ifdef __linux__
/* Pages of files and shared memory that this process has in memory. */
static long resident(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long all, resident, shared = 0;
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld %ld", &all, &resident, &shared), 3);
    fclose(file);
    return shared;
}
#endif

static void maps_show_the_file_and_survive_a_release_of_pages(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    size_t size = 100000;
    unsigned char *data = hone__alloc(ctx, size);
    for (size_t i = 0; i < size; i++) data[i] = (unsigned char)(i * 7);
    assert_hone_ok(ctx, hone_write_file(ctx, scratch("map"), data, size));
    hone__map map;
    assert_hone_ok(ctx, hone__map_open(ctx, scratch("map"), &map));
    assert_int_equal(map.size, size);
    hone__map_release(&map, 10, size - 20);
    hone__map_release(&map, 0, SIZE_MAX);
    hone__map_release(&map, SIZE_MAX, SIZE_MAX);
    assert_memory_equal(map.data, data, size);
#ifdef __linux__
    /* A part that begins anywhere: its whole pages go, or packed weights stay in memory twice. */
    hone__map part = {map.data + 77, size - 77};
    resident(); /* brings in what reading takes */
    long before = resident(), page = sysconf(_SC_PAGESIZE);
    hone__map_release(&part, 0, part.size);
    assert_true(before - resident() >= (long)size / page / 2);
    assert_memory_equal(map.data, data, size);
#endif
    hone__map_close(&map);
    hone__map_close(&map);
    assert_hone_ok(ctx, hone_write_file(ctx, scratch("empty"), NULL, 0));
    assert_hone_ok(ctx, hone__map_open(ctx, scratch("empty"), &map));
    assert_null(map.data);
    hone__map_close(&map);
    assert_null(hone__read_file(ctx, scratch("map"), size - 1, NULL)); /* larger than allowed */
    hone__free(ctx, data);
    hone_ctx_release(ctx);
}

static void folders_are_made_listed_replaced_and_removed(void **state)
{
    (void)state;
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    assert_hone_ok(ctx, hone__make_folder(ctx, scratch("f/one/two/")));
    assert_hone_ok(ctx, hone__make_folder(ctx, scratch("f/one/two")));
    assert_hone_ok(ctx, hone_write_file(ctx, scratch("f/one/b"), "new", 3));
    assert_hone_ok(ctx, hone_write_file(ctx, scratch("f/one/a"), "", 0));
    assert_int_equal(hone__make_folder(ctx, scratch("f/one/a")), HONE_IO);
    assert_int_equal(hone__make_folder(ctx, scratch("f/one/a/x")), HONE_IO);
    assert_int_equal(hone__make_folder(ctx, ""), HONE_INVALID);
    char **names;
    size_t count;
    assert_hone_ok(ctx, hone__list_folder(ctx, scratch("f/one"), &names, &count));
    assert_int_equal(count, 3);
    assert_string_equal(names[0], "a");
    assert_string_equal(names[1], "b");
    assert_string_equal(names[2], "two");
    hone__free(ctx, names);

    assert_hone_ok(ctx, hone__make_folder(ctx, scratch("f/target")));
    assert_hone_ok(ctx, hone_write_file(ctx, scratch("f/target/old"), "old", 3));
    assert_hone_ok(ctx, hone__rename_folder(ctx, scratch("f/one"), scratch("f/target")));
    assert_false(hone__is_folder(scratch("f/one")));
    assert_false(hone__is_file(scratch("f/target/old")));
    assert_content(ctx, scratch("f/target/b"), "new");
    assert_int_equal(files_in(ctx, scratch("f")), 1);

    /* A link is removed, what it leads to is not. */
    assert_hone_ok(ctx, hone__make_folder(ctx, scratch("f/kept")));
    assert_hone_ok(ctx, hone_write_file(ctx, scratch("f/kept/file"), "kept", 4));
    assert_int_equal(symlink("../kept", scratch("f/target/link")), 0);
    assert_hone_ok(ctx, hone__remove_folder(ctx, scratch("f/target")));
    assert_hone_ok(ctx, hone__remove_folder(ctx, scratch("f/target")));
    assert_content(ctx, scratch("f/kept/file"), "kept");
    assert_int_equal(hone__remove_folder(ctx, scratch("f/kept/file")), HONE_IO);

    assert_int_equal(hone__list_folder(ctx, scratch("f/none"), &names, &count), HONE_IO);
    assert_null(names);
    hone_ctx_release(ctx);
}

static void paths_join_with_one_slash(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"", "b", "b"}, {"/", "b", "/b"}};
    hone_ctx *ctx = hone_ctx_new(.threads = 1);
    for (size_t i = 0; i < HONE_ARRAY_LEN(cases); i++) {
        char *path = hone__join_path(ctx, cases[i][0], cases[i][1]);
        assert_string_equal(path, cases[i][2]);
        hone__free(ctx, path);
    }
    hone_ctx_release(ctx);
}

static void the_machine_has_memory_and_time_goes_forward(void **state)
{
    (void)state;
    double before = hone__seconds();
    assert_true(hone__total_memory() > 0);
    assert_true(hone_peak_memory() > 0);
    assert_true(hone__unix_time() > 1600000000);
    assert_true(hone__seconds() >= before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_building_error_stays),
        cmocka_unit_test(an_error_of_a_run_is_described_but_does_not_stick),
        cmocka_unit_test(a_long_message_is_cut_and_not_written_beyond),
        cmocka_unit_test(every_status_has_a_name_and_a_text),
        cmocka_unit_test(options_that_make_no_sense_give_no_context),
        cmocka_unit_test(allocations_are_aligned_and_counted),
        cmocka_unit_test(an_arena_hands_out_zeroed_memory_that_does_not_overlap),
        cmocka_unit_test(a_buffer_keeps_what_was_added),
        cmocka_unit_test(a_failed_allocation_is_an_error_and_leaks_nothing),
        cmocka_unit_test(philox_gives_the_published_numbers),
        cmocka_unit_test(uniform_and_normal_numbers_have_their_moments),
        cmocka_unit_test(numbers_below_a_bound_stay_below_and_reach_all),
        cmocka_unit_test(a_shuffle_depends_on_its_key_alone),
        cmocka_unit_test(keys_and_hashes_tell_their_parts_apart),
        cmocka_unit_test(parallel_for_visits_each_index_once),
        cmocka_unit_test(a_file_is_replaced_whole_and_keeps_its_mode),
        cmocka_unit_test(a_full_disk_leaves_the_old_file_and_says_why),
        cmocka_unit_test(what_is_no_regular_file_is_neither_replaced_nor_read),
        cmocka_unit_test(maps_show_the_file_and_survive_a_release_of_pages),
        cmocka_unit_test(folders_are_made_listed_replaced_and_removed),
        cmocka_unit_test(paths_join_with_one_slash),
        cmocka_unit_test(the_machine_has_memory_and_time_goes_forward),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
