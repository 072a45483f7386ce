/* The examples as a reader would run them: from the project's folder, by what they print. */
#include "examples_tools.h"

#include <stdbool.h>

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
    assert_true(accuracy > 0.8 && accuracy <= 1 && loss > 0 && loss < 0.55);
    assert_int_equal(run(IRIS, again, sizeof again), 0);
    assert_string_equal(text, again);
    assert_int_equal(run(IRIS " examples/data/iris.csv 3", again, sizeof again), 0);
    assert_true(strcmp(text, again) != 0);
    assert_int_equal(run(IRIS " no-such-file.csv", text, sizeof text), 1);
    assert_non_null(strstr(text, "iris: no-such-file.csv"));
}

/* A file of CIFAR-10's with n pictures: in each a square of a colour and at a place that tell the class, amid noise. */
static void write_cifar(const char *name, int n, unsigned seed)
{
    FILE *file = fopen(name, "wb");
    assert_non_null(file);
    for (int i = 0; i < n; i++) {
        int class = i % 10, left = 4 + class % 5 * 4, top = 6 + class / 5 * 12; /* and up to 3 pixels further */
        fputc(class, file);
        for (int p = 0; p < 3 * 32 * 32; p++) {
            int x = p % 32 - left - i / 10 % 4, y = p / 32 % 32 - top - i / 40 % 4, inside = x >= 0 && x < 8 && y >= 0 && y < 8;
            seed = seed * 1664525u + 1013904223u;
            fputc((int)(seed >> 25) + (inside && p / 1024 != class % 3 ? 100 : 0), file);
        }
    }
    assert_int_equal(fclose(file), 0);
}

static void test_simple_cnn(void **state)
{
    (void)state;
    char text[4000];
    write_cifar(HONE_BINARY_DIR "/data_batch_1.bin", 200, 1), write_cifar(HONE_BINARY_DIR "/data_batch_2.bin", 120, 2);
    write_cifar(HONE_BINARY_DIR "/test_batch.bin", 100, 3);
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_simple_cnn' '" HONE_BINARY_DIR "' 8", text, sizeof text), 0);
    assert_non_null(strstr(text, "320 pictures of CIFAR-10\n"));
    assert_figure(text, "\nLoss: ", 0, 0.5);
    assert_figure(text, "Accuracy: ", 0.9, 1.001);
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_simple_cnn' '" HONE_BINARY_DIR "' 1 321", text, sizeof text), 2);
    assert_non_null(strstr(text, "there are 320 pictures"));
    assert_int_equal(run("truncate -s -1 '" HONE_BINARY_DIR "/test_batch.bin'; '" HONE_BINARY_DIR "/example_simple_cnn' '" HONE_BINARY_DIR
                         "'", text, sizeof text), 1);
    assert_non_null(strstr(text, "test_batch.bin: 307299 bytes"));
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_simple_cnn' /nowhere", text, sizeof text), 1);
    assert_non_null(strstr(text, "simple_cnn: /nowhere/train-images-idx3-ubyte.gz: No such file or directory"));
}

#define FASHION "/usr/share/datasets/fashion-mnist"

/* A short form: a thirtieth of the pictures. */
static void test_simple_cnn_on_clothes(void **state)
{
    (void)state;
    char text[4000];
    if (access(FASHION "/train-images-idx3-ubyte.gz", R_OK)) skip();
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_simple_cnn' " FASHION " 3 2000", text, sizeof text), 0);
    assert_non_null(strstr(text, "2000 pictures of Fashion-MNIST, as 3 x 32 x 32, stand in for CIFAR-10"));
    assert_figure(text, "\nLoss: ", 0, 0.65);
    assert_figure(text, "Accuracy: ", 0.77, 1);
}

static void test_first_networks(void **state)
{
    (void)state;
    char text[4000];
    double loss[3], accuracy[2];
    int end = 0;
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_first_networks'", text, sizeof text), 0);
    assert_int_equal(sscanf(text, "Sequential: loss %lf, accuracy %lf\nModule: loss %lf, accuracy %lf\nRegression: loss %lf\n%n", &loss[0],
                            &accuracy[0], &loss[1], &accuracy[1], &loss[2], &end), 5);
    assert_int_equal(text[end], 0);
    for (int i = 0; i < 2; i++) assert_true(accuracy[i] > 0.95 && accuracy[i] <= 1 && loss[i] > 0 && loss[i] < 0.16);
    assert_true(loss[2] > 0 && loss[2] < 0.01);
}

/* A short form: a sixtieth of the pictures. */
static void test_fashion_cnn(void **state)
{
    (void)state;
    char text[4000];
    if (access(FASHION "/train-images-idx3-ubyte.gz", R_OK)) skip();
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_fashion_cnn' " FASHION " 4 1500", text, sizeof text), 0);
    assert_figure(text, "\nLoss: ", 0, 0.7);
    assert_figure(text, "Accuracy: ", 0.74, 1);
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_fashion_cnn' /nowhere", text, sizeof text), 1);
    assert_non_null(strstr(text, "fashion_cnn: /nowhere/train-images-idx3-ubyte.gz: No such file or directory"));
}

/* Two kinds of sentences that anybody could tell apart. */
static void test_review_sentiment(void **state)
{
    (void)state;
    char text[4000];
    assert_int_equal(run("awk 'BEGIN { for (i = 0; i < 400; i++) printf \"%d\\t%d\\tfilm %d is %s indeed\\n\", i, i % 2 ? 2 : -2, i % 17, "
                         "i % 2 ? \"lovely\" : \"boring\" }' >'" HONE_BINARY_DIR "/reviews.txt' && '" HONE_BINARY_DIR
                         "/example_review_sentiment' '" HONE_BINARY_DIR "/reviews.txt' 6", text, sizeof text), 0);
    assert_figure(text, " 40 reviews held out: loss ", 0, 0.3);
    assert_figure(text, "accuracy ", 0.99, 1.001);
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_review_sentiment' no-such-file", text, sizeof text), 1);
    assert_non_null(strstr(text, "review_sentiment: no-such-file cannot be read"));
}

/* Words of two topics, with and without an s: neighbours are of the same one. */
static void test_word_vectors(void **state)
{
    (void)state;
    char text[8000];
    double same, other;
    assert_int_equal(run("awk 'BEGIN { for (i = 0; i < 80; i++) for (k = 0; k < 2000; k++) { r = (i * 7919 + k * k * 104729) % 1009; "
                         "printf \"%s%c%s\\n\", i % 2 ? \"on\" : \"off\", 97 + r % 10, r % 3 ? \"\" : \"s\" } }' >'"
                         HONE_BINARY_DIR "/topics.txt' && '" HONE_BINARY_DIR "/example_word_vectors' '" HONE_BINARY_DIR
                         "/topics.txt' 8 0 ona offb", text, sizeof text), 0);
    const char *nearest = strstr(text, "\nona:"), *forms = strstr(text, "20 words with and without -s");
    assert_non_null(nearest);
    assert_non_null(forms);
    nearest += strlen("\nona:");
    for (int k = 0; k < 8; k++, nearest += strcspn(nearest + 1, " \n") + 1) assert_memory_equal(nearest, " on", 3);
    assert_int_equal(sscanf(forms, "20 words with and without -s: mean cosine %lf, of random pairs %lf", &same, &other), 2);
    assert_true(same > other + 0.1 && same <= 1);
    assert_non_null(strstr(text, "epoch 8: "));
    assert_figure(text, " pairs, loss ", 0, 0.38);
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_word_vectors' no-such-file", text, sizeof text), 1);
    assert_non_null(strstr(text, "word_vectors: no-such-file cannot be read"));
}

static void test_word_vectors_of_a_novel(void **state)
{
    (void)state;
    char text[8000], line[1000];
    double same, other, near;
    snprintf(line, sizeof line, "head -c 1000000 '%s' >'" HONE_BINARY_DIR "/austen.txt' && '" HONE_BINARY_DIR "/example_word_vectors' '"
             HONE_BINARY_DIR "/austen.txt' 3", fetched("austen.txt"));
    assert_int_equal(run(line, text, sizeof text), 0);
    const char *forms = strstr(text, " words with and without -s");
    assert_non_null(forms);
    assert_non_null(strstr(text, "epoch 3: "));
    assert_figure(text, " pairs, loss ", 0.2, 0.435);
    assert_int_equal(sscanf(forms, " words with and without -s: mean cosine %lf, of random pairs %lf; among the 10 nearest of %*d: %lf",
                            &same, &other, &near), 3);
    assert_true(same > other + 0.03 && near > 0);
}

/* Readers of whom a third likes what the others don't, which biases cannot say. */
static const char recommend_prints[] = "%*d ratings by %*d readers of %*d reviews\nThe mean of all: RMSE %*f\nThe review's mean: "
                                       "RMSE %lf\nBiases: RMSE %lf\nFactorization, epoch %*d: RMSE %lf\n";
static void test_recommend(void **state)
{
    (void)state;
    char text[8000];
    double review, biases, factors;
    assert_int_equal(run("awk 'BEGIN { for (i = 0; i < 600; i++) { printf \"%d\\t0\\t0\\t[\", i; for (k = 0; k < 15; k++) "
                         "printf \"%s%d\", k ? \", \" : \"\", 4.5 * sin(1.7 * i) * ((k * k + int(i / 30)) % 3 ? 1 : -1); print \"]\" } }' >'"
                         HONE_BINARY_DIR "/ratings.txt' && ('" HONE_BINARY_DIR "/example_recommend' '" HONE_BINARY_DIR
                         "/ratings.txt' 60 2>/dev/null)", text, sizeof text), 0);
    assert_non_null(strstr(text, "9000 ratings by 300 readers of 600 reviews\n"));
    assert_int_equal(sscanf(text, recommend_prints, &review, &biases, &factors), 3);
    assert_true(factors > 0 && factors < 0.5 * biases && factors < 0.5 * review);
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_recommend' no-such-file", text, sizeof text), 1);
    assert_non_null(strstr(text, "recommend: no-such-file cannot be read"));
}

static void test_recommend_reviews(void **state)
{
    (void)state;
    char text[8000], line[1000];
    double review, biases, factors;
    snprintf(line, sizeof line, "('" HONE_BINARY_DIR "/example_recommend' '%s' 14 2>/dev/null)",
             fetched("movieReviewSnippets_anonDataRatings.txt"));
    assert_int_equal(run(line, text, sizeof text), 0);
    assert_int_equal(sscanf(text, recommend_prints, &review, &biases, &factors), 3);
    assert_true(factors > 0.7 && factors < biases && biases < review);
}

/* Steady growth and a season: a year ago is always too little. */
static const char forecast_prints[] = "%*d months to learn from, 36 held out\nAs a year ago: MAE %lf, RMSE %lf\nAnd grown as the year "
                                      "before: MAE %*f, RMSE %*f\nLSTM: MAE %lf, RMSE %lf\n";
static void test_forecast(void **state)
{
    (void)state;
    char text[4000];
    double naive, naive_rms, error, rms;
    assert_int_equal(run("awk 'BEGIN { print \"month,value\"; for (i = 0; i < 144; i++) printf \"%d,%.3f\\n\", i, 100 * exp(0.01 * i + 0.3 * "
                         "sin(i * 0.5235988)) }' >'" HONE_BINARY_DIR "/series.csv' && '" HONE_BINARY_DIR "/example_forecast' '"
                         HONE_BINARY_DIR "/series.csv'", text, sizeof text), 0);
    assert_int_equal(sscanf(text, forecast_prints, &naive, &naive_rms, &error, &rms), 4);
    assert_true(error > 0 && error < 0.5 * naive && rms >= error && rms < 0.5 * naive_rms);
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_forecast' no-such-file.csv", text, sizeof text), 1);
    assert_non_null(strstr(text, "forecast: no-such-file.csv"));
}

static void test_forecast_passengers(void **state)
{
    (void)state;
    char text[4000], line[1000];
    double naive, naive_rms, error, rms;
    snprintf(line, sizeof line, "'" HONE_BINARY_DIR "/example_forecast' '%s'", fetched("Airline.csv"));
    assert_int_equal(run(line, text, sizeof text), 0);
    assert_int_equal(sscanf(text, forecast_prints, &naive, &naive_rms, &error, &rms), 4);
    assert_true(error < 0.85 * naive && rms < 0.85 * naive_rms);
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
    assert_true(first > 0 && last > 0 && last < 0.3 * first);
}

static void test_translate_letters(void **state)
{
    (void)state;
    char text[4000];
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_translate_letters'", text, sizeof text), 0);
    assert_figure(text, "Loss: ", 0, 0.05);
    assert_figure(text, "Letters: ", 0.97, 1.001);
    assert_figure(text, "Words: ", 0.9, 1.001);
}

/* ---- examples on digits and wines: short forms, on data made here in the same format; the real ones have to be fetched ---- */

#define DIGITS "'" HONE_BINARY_DIR "/digits.csv'"

/* n pictures of 28 x 28, of the first so many digits as clocks show them, at different places. */
static void write_digits(int n, int classes)
{
    static const unsigned lit[10] = {0x3F, 0x06, 0x5B, 0x4F, 0x66, 0x6D, 0x7D, 0x07, 0x7F, 0x6F}; /* bars, bit by bit */
    static const struct { int x, y, width, height; } bar[7] = {{0, 0, 12, 3}, {9, 0, 3, 11}, {9, 9, 3, 11}, {0, 17, 12, 3},
                                                               {0, 9, 3, 11}, {0, 0, 3, 11}, {0, 9, 12, 3}};
    FILE *file = fopen(HONE_BINARY_DIR "/digits.csv", "w");
    assert_non_null(file);
    for (int i = 0; i < n; i++) {
        int class = i % classes, pixel[28][28] = {{0}}, left = 5 + i / 10 * 3 % 7, top = 2 + i / 10 * 5 % 7;
        for (int b = 0; b < 7; b++)
            for (int y = 0; y < bar[b].height && lit[class] >> b & 1; y++)
                for (int x = 0; x < bar[b].width; x++) pixel[top + bar[b].y + y][left + bar[b].x + x] = 150 + i % 100;
        for (int p = 0; p < 28 * 28; p++) fprintf(file, "%d,", pixel[p / 28][p % 28]);
        fprintf(file, "%d\n", class);
    }
    assert_int_equal(fclose(file), 0);
}

static void test_digits(void **state)
{
    (void)state;
    char text[4000];
    write_digits(500, 10);
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_digits' " DIGITS " 12", text, sizeof text), 0);
    assert_figure(text, "Loss: ", 0, 0.2);
    assert_figure(text, "Accuracy: ", 0.95, 1.001);
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_digits' examples/data/iris.csv", text, sizeof text), 1);
    assert_non_null(strstr(text, "digits: examples/data/iris.csv"));
}

static void test_scenes(void **state)
{
    (void)state;
    char text[4000];
    write_digits(100, 2); /* ten take longer to be told apart */
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_scenes' segment " DIGITS " 8 320", text, sizeof text), 0);
    assert_figure(text, "\nLoss: ", 0, 0.3);
    assert_figure(text, "Mean IoU: ", 0.55, 1); /* all ground would be 0.32, and ink without knowing which digit 0.5 */
    write_digits(500, 10);
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_scenes' detect " DIGITS " 6 400", text, sizeof text), 0);
    assert_figure(text, "\nLoss: ", 0, 2.2);
    assert_figure(text, "Precision: ", 0.75, 1);
    assert_figure(text, "Recall: ", 0.8, 1);
    assert_figure(text, "Mean IoU: ", 0.6, 1);
    assert_figure(text, "Average precision: ", 0.8, 1);
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_scenes'", text, sizeof text), 2);
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_scenes' detect examples/data/iris.csv", text, sizeof text), 1);
    assert_non_null(strstr(text, "scenes: examples/data/iris.csv"));
}

static void test_wine(void **state)
{
    (void)state;
    char text[4000];
    FILE *file = fopen(HONE_BINARY_DIR "/wines.csv", "w");
    assert_non_null(file);
    for (int i = 0; i < 90; i++) {
        for (int j = 0, unit = 1; j < 4; j++, unit *= 10) /* columns of different scales, some larger for each class */
            fprintf(file, "%d,", unit * (50 + (j % 3 == i % 3) * 10 + i * (j + 3) % 13));
        fprintf(file, "%d\n", i % 3);
    }
    assert_int_equal(fclose(file), 0);
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_wine' '" HONE_BINARY_DIR "/wines.csv' 5", text, sizeof text), 0);
    assert_non_null(strstr(text, "fold  4: "));
    assert_figure(text, "\nLoss: ", 0, 0.1);
    assert_figure(text, "Accuracy: ", 0.95, 1.001);
    assert_figure(text, "deviation ", -0.001, 0.1);
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_wine' no-such-file", text, sizeof text), 1);
    assert_non_null(strstr(text, "wine: no-such-file"));
}

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

/* A short form: 30 steps, each side has learned something and neither has won. */
static void test_fashion_gan(void **state)
{
    (void)state;
    char text[4000];
    if (access(FASHION "/train-images-idx3-ubyte.gz", R_OK)) skip();
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_fashion_gan' " FASHION " 3 640 '" HONE_BINARY_DIR "/gan.png'", text, sizeof text), 0);
    assert_figure(text, "Discriminator: ", 0.3, 1.38); /* 2 ln 2: it knows nothing */
    assert_figure(text, "Generator: ", 0.75, 4);       /* ln 2: it is not told apart */
    assert_figure(text, "Score: ", 1.001, 10);
    assert_figure(text, "of real pictures: ", 2.5, 10);
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
        snprintf(line, sizeof line, "'%s/example_autoencoder' " FASHION " 8 2000 %s '%s/autoencoder.png'", HONE_BINARY_DIR,
                 noisy ? "0.3" : "0", HONE_BINARY_DIR);
        assert_int_equal(run(line, text, sizeof text), 0);
        const char *last = strstr(text, "Error: ");
        assert_non_null(last);
        assert_int_equal(sscanf(last, "Error: %lf, of the mean picture: %lf\n", &error, &mean), 2);
        assert_true(error > 0 && error < (noisy ? 0.33 : 0.3) * mean && mean > 0.05 && mean < 0.15);
        assert_png(HONE_BINARY_DIR "/autoencoder.png", 12 * 30 + 2, 3 * 30 + 2);
    }
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_autoencoder' /nowhere", text, sizeof text), 1);
    assert_non_null(strstr(text, "autoencoder: /nowhere/train-images-idx3-ubyte.gz: No such file or directory"));
}

/* ---- examples on words and voices: short forms, on data made here in the same format; the real ones have to be fetched ---- */

#define WORDS "'" HONE_BINARY_DIR "/words.dict'"

/* 4,000 words of five letters that are said as they are written, but for c, which depends on what follows. */
static void write_words(void)
{
    static const char consonants[] = "bcdfklmnpstz", vowels[] = "aeiou";
    static const char *const consonant_sounds[] = {"B", "", "D", "F", "K", "L", "M", "N", "P", "S", "T", "Z"};
    static const char *const vowel_sounds[] = {"AE1", "EH0", "IH1", "AA0", "AH2"};
    FILE *file = fopen(HONE_BINARY_DIR "/words.dict", "w");
    assert_non_null(file);
    fprintf(file, ";;; no word\nun-w\xC3\xB6rd AH0 N\nnothing NO PHONEME\n");
    for (int i = 0; i < 4000; i++) {
        int word = i * 7919 % (12 * 5 * 12 * 5 * 12), digit[5], at[5];
        for (int k = 0; k < 5; k++) digit[k] = word % (k % 2 ? 5 : 12), word /= k % 2 ? 5 : 12;
        for (int k = 0; k < 5; k++) at[k] = fputc(k % 2 ? vowels[digit[k]] : consonants[digit[k]], file);
        for (int k = 0; k < 5; k++)
            fprintf(file, " %s", k % 2 ? vowel_sounds[digit[k]] : at[k] != 'c' ? consonant_sounds[digit[k]]
                                 : k < 4 && (at[k + 1] == 'e' || at[k + 1] == 'i') ? "S" : "K");
        fprintf(file, i % 5 ? "\n" : " # a comment\n");
    }
    assert_int_equal(fclose(file), 0);
}

static void test_pronounce(void **state)
{
    (void)state;
    char text[4000];
    write_words();
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_pronounce' " WORDS " 16 64", text, sizeof text), 0);
    assert_non_null(strstr(text, "epoch 16/16  loss "));
    assert_figure(text, "epoch 16/16  loss ", 0, 0.85); /* labels are smoothed */
    assert_figure(text, "200 words held out: word error rate ", -0.001, 0.05);
    assert_figure(text, "phoneme error rate ", -0.001, 0.02);
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_pronounce' no-such-file", text, sizeof text), 1);
    assert_non_null(strstr(text, "pronounce: no-such-file cannot be read"));
}

/* Voices of 7 to 29 steps around a place of their own for each of nine speakers; `first` tells the files apart. */
static void write_voices(const char *path, int n, int first)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "# voices\n@dimensions 12\n@data\n");
    for (int i = first; i < first + n; i++) {
        int length = 7 + i * 5 % 23;
        for (int d = 0; d < 12; d++)
            for (int t = 0; t < length; t++)
                fprintf(file, "%.2f%c", (i % 9 + 1) * (d + 2) % 11 * 0.1 + (i * 31 + t * 17 + d * 13) % 19 * 0.05,
                        t + 1 < length ? ',' : ':');
        fprintf(file, "%d\n", i % 9 + 1);
    }
    assert_int_equal(fclose(file), 0);
}

static void test_japanese_vowels(void **state)
{
    (void)state;
    char text[4000];
    write_voices(HONE_BINARY_DIR "/JapaneseVowels_TRAIN.ts", 90, 0);
    write_voices(HONE_BINARY_DIR "/JapaneseVowels_TEST.ts", 45, 1000);
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_japanese_vowels' '" HONE_BINARY_DIR "' 12", text, sizeof text), 0);
    assert_figure(text, "45 utterances held out: loss ", 0, 0.65);
    assert_figure(text, "accuracy ", 0.95, 1.001);
    assert_int_equal(run("'" HONE_BINARY_DIR "/example_japanese_vowels' /nowhere", text, sizeof text), 1);
    assert_non_null(strstr(text, "japanese_vowels: /nowhere/JapaneseVowels_TRAIN.ts cannot be read"));
    assert_int_equal(run("sed -i '5s/,/:/' '" HONE_BINARY_DIR "/JapaneseVowels_TEST.ts' && '" HONE_BINARY_DIR
                         "/example_japanese_vowels' '" HONE_BINARY_DIR "'", text, sizeof text), 1);
    assert_non_null(strstr(text, "JapaneseVowels_TEST.ts: utterance 2 is not as it should be"));
}

/* ---- short forms on real data ---- */

static const short_form digits = {"mnist_5k.csv", "$at/example_digits $set 3", "Loss: ", 0.25, "Accuracy: ", 0.94},
                        wine = {"wine.csv", "$at/example_wine $set", "\nLoss: ", 0.08, "Accuracy: ", 0.96},
                        reviews = {"movieReviewSnippets_GroundTruth.txt", "$at/example_review_sentiment $set 2", "held out: loss ", 0.56,
                                   "accuracy ", 0.74},
                        vowels = {"JapaneseVowels_TRAIN.ts", "$at/example_japanese_vowels \"${set%/*}\" 10", "held out: loss ", 0.65,
                                  "accuracy ", 0.96};
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_iris),
        cmocka_unit_test(test_simple_cnn),
        cmocka_unit_test(test_simple_cnn_on_clothes),
        cmocka_unit_test(test_first_networks),
        cmocka_unit_test(test_fashion_cnn),
        cmocka_unit_test(test_fashion_gan),
        cmocka_unit_test(test_autoencoder),
        cmocka_unit_test(test_review_sentiment),
        cmocka_unit_test(test_word_vectors),
        cmocka_unit_test(test_word_vectors_of_a_novel),
        cmocka_unit_test(test_recommend),
        cmocka_unit_test(test_recommend_reviews),
        cmocka_unit_test(test_forecast),
        cmocka_unit_test(test_forecast_passengers),
        cmocka_unit_test(test_gradient_tape),
        cmocka_unit_test(test_translate_letters),
        cmocka_unit_test(test_digits),
        cmocka_unit_test(test_scenes),
        cmocka_unit_test(test_wine),
        cmocka_unit_test(test_pronounce),
        cmocka_unit_test(test_japanese_vowels),
        REAL(digits),
        REAL(wine),
        REAL(reviews),
        REAL(vowels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
