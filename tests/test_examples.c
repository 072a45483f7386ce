/* The examples as a reader would run them: from the project's folder, by what they print. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs a shell line; what it printed (both streams) into text, its exit status. */
static int run(const char *line, char *text, size_t size)
{
    char command[2000];
    snprintf(command, sizeof command, "cd '%s' && %s 2>&1", HONE_SOURCE_DIR, line);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t n = fread(text, 1, size - 1, pipe);
    text[n] = 0;
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define IRIS "'" HONE_BINARY_DIR "/example_iris'"

static void test_iris(void **state)
{
    (void)state;
    char text[4000], again[4000];
    double loss, accuracy;
    int end = 0;
    assert_int_equal(run(IRIS, text, sizeof text), 0);
    assert_int_equal(sscanf(text, "Loss: %lf, Accuracy: %lf\n%n", &loss, &accuracy, &end), 2);
    assert_int_equal(text[end], 0);
    assert_true(accuracy > 0.7 && accuracy <= 1 && loss > 0 && loss < 1);
    assert_int_equal(run(IRIS, again, sizeof again), 0);
    assert_string_equal(text, again);
    assert_int_equal(run(IRIS " examples/data/iris.csv 3", again, sizeof again), 0);
    assert_true(strcmp(text, again) != 0);
    assert_int_equal(run(IRIS " no-such-file.csv", text, sizeof text), 1);
    assert_non_null(strstr(text, "iris: no-such-file.csv"));
}

static void test_simple_cnn(void **state)
{
    (void)state;
    char text[4000];
    double loss, accuracy;
    int end = 0;
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_simple_cnn'", text, sizeof text), 0);
    assert_int_equal(sscanf(text, "Loss: %lf, Accuracy: %lf\n%n", &loss, &accuracy, &end), 2);
    assert_int_equal(text[end], 0);
    assert_true(accuracy > 0.9 && accuracy <= 1 && loss > 0 && loss < 0.5);
}

static void test_first_networks(void **state)
{
    (void)state;
    char text[4000];
    double sequential, module, loss;
    int end = 0;
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_first_networks'", text, sizeof text), 0);
    assert_int_equal(sscanf(text, "Sequential: loss %*f, accuracy %lf\nModule: loss %*f, accuracy %lf\nRegression: loss %lf\n%n",
                            &sequential, &module, &loss, &end), 3);
    assert_int_equal(text[end], 0);
    assert_true(sequential > 0.95 && sequential <= 1 && module > 0.95 && module <= 1 && loss < 0.02);
}

/* A short form: a sixtieth of the pictures. */
static void test_fashion_cnn(void **state)
{
    (void)state;
    char text[4000];
    double loss, accuracy;
    if (access("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz", R_OK)) skip();
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_fashion_cnn' /usr/share/datasets/fashion-mnist 3 1000", text, sizeof text), 0);
    const char *line = strstr(text, "Loss: "); /* after the progress */
    assert_non_null(line);
    assert_int_equal(sscanf(line, "Loss: %lf, Accuracy: %lf\n", &loss, &accuracy), 2);
    assert_true(accuracy > 0.6 && accuracy <= 1 && loss > 0 && loss < 1.2);
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_fashion_cnn' /nowhere", text, sizeof text), 1);
    assert_non_null(strstr(text, "fashion_cnn: /nowhere/train-images-idx3-ubyte.gz: No such file or directory"));
}

/* Two kinds of sentences that anybody could tell apart; the real reviews have to be fetched. */
static void test_review_sentiment(void **state)
{
    (void)state;
    char text[4000];
    double accuracy;
    assert_int_equal(run("awk 'BEGIN { for (i = 0; i < 400; i++) printf \"%d\\t%d\\tfilm %d is %s indeed\\n\", i, i % 2 ? 2 : -2, i % 17, "
                         "i % 2 ? \"lovely\" : \"boring\" }' >'" HONE_BINARY_DIR "/reviews.txt' && '" HONE_BINARY_DIR
                         "/example_review_sentiment' '" HONE_BINARY_DIR "/reviews.txt' 6", text, sizeof text), 0);
    const char *line = strstr(text, " words, ");
    assert_non_null(line);
    assert_int_equal(sscanf(line, " words, 40 reviews held out: loss %*f, accuracy %lf\n", &accuracy), 1);
    assert_true(accuracy > 0.95);
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_review_sentiment' no-such-file", text, sizeof text), 1);
    assert_non_null(strstr(text, "review_sentiment: no-such-file cannot be read"));
}

static void test_gradient_tape(void **state)
{
    (void)state;
    char text[4000], *line = text;
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_gradient_tape'", text, sizeof text), 0);
    double first = 0, last = 0;
    int lines = 0, epoch, end;
    for (; *line; line += end, lines++) {
        double loss;
        end = 0;
        assert_int_equal(sscanf(line, "epoch %d loss %lf%n", &epoch, &loss, &end), 2);
        assert_int_equal(line[end], '\n');
        end++;
        assert_int_equal(epoch, lines * 10);
        if (!lines) first = loss;
        last = loss;
    }
    assert_int_equal(lines, 21);
    assert_true(last < first / 2);
}

static void test_translate_letters(void **state)
{
    (void)state;
    char text[4000];
    double letters, words;
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_translate_letters'", text, sizeof text), 0);
    const char *last = strstr(text, "Letters: ");
    assert_non_null(last);
    assert_int_equal(sscanf(last, "Letters: %lf, Words: %lf\n", &letters, &words), 2);
    assert_true(letters > 0.95 && letters <= 1 && words > 0.9 && words <= 1);
}

#define FASHION "/usr/share/datasets/fashion-mnist"

/* Is the file a PNG of that size? */
static void assert_png(const char *path, unsigned width, unsigned height)
{
    unsigned char head[24] = {0};
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(head, 1, sizeof head, file), sizeof head);
    fclose(file);
    assert_memory_equal(head, "\x89PNG\r\n\x1A\n", 8);
    assert_int_equal((unsigned)head[18] << 8 | head[19], width);
    assert_int_equal((unsigned)head[22] << 8 | head[23], height);
}

/* A short form: 30 steps. Neither of the two has won, and what is drawn is no longer noise. */
static void test_fashion_gan(void **state)
{
    (void)state;
    char text[4000];
    double discriminator, generator, score, real;
    if (access(FASHION "/train-images-idx3-ubyte.gz", R_OK)) skip();
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_fashion_gan' " FASHION " 3 640 '" HONE_BINARY_DIR "/gan.png'", text, sizeof text), 0);
    const char *line = strstr(text, "Discriminator: ");
    assert_non_null(line);
    assert_int_equal(sscanf(line, "Discriminator: %lf, Generator: %lf, Score: %lf, of real pictures: %lf\n", &discriminator, &generator,
                            &score, &real), 4);
    assert_true(discriminator > 0.3 && discriminator < 2 && generator > 0.3 && generator < 5);
    assert_true(score > 1 && score < 10 && real > 2 && real < 10);
    assert_png(HONE_BINARY_DIR "/gan.png", 8 * 30 + 2, 8 * 30 + 2);
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_fashion_gan' /nowhere", text, sizeof text), 1);
    assert_non_null(strstr(text, "fashion_gan: /nowhere/train-images-idx3-ubyte.gz: No such file or directory"));
}

/* A short form, without noise and with: better than the mean picture. */
static void test_autoencoder(void **state)
{
    (void)state;
    char text[4000];
    double error, mean;
    if (access(FASHION "/train-images-idx3-ubyte.gz", R_OK)) skip();
    for (int noisy = 0; noisy < 2; noisy++) {
        char line[1000];
        snprintf(line, sizeof line, "'%s/example_autoencoder' " FASHION " 3 2000 %s '%s/autoencoder.png'", HONE_BINARY_DIR,
                 noisy ? "0.3" : "0", HONE_BINARY_DIR);
        assert_int_equal(run(line, text, sizeof text), 0);
        const char *last = strstr(text, "Error: ");
        assert_non_null(last);
        assert_int_equal(sscanf(last, "Error: %lf, of the mean picture: %lf\n", &error, &mean), 2);
        assert_true(error > 0 && error < 0.5 * mean && mean > 0.05 && mean < 0.15);
        assert_png(HONE_BINARY_DIR "/autoencoder.png", 12 * 30 + 2, 3 * 30 + 2);
    }
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_autoencoder' /nowhere", text, sizeof text), 1);
    assert_non_null(strstr(text, "autoencoder: /nowhere/train-images-idx3-ubyte.gz: No such file or directory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_iris),
        cmocka_unit_test(test_simple_cnn),
        cmocka_unit_test(test_first_networks),
        cmocka_unit_test(test_fashion_cnn),
        cmocka_unit_test(test_fashion_gan),
        cmocka_unit_test(test_autoencoder),
        cmocka_unit_test(test_review_sentiment),
        cmocka_unit_test(test_gradient_tape),
        cmocka_unit_test(test_translate_letters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
