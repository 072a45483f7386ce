/* What a constructor refused is NULL, which every function takes: it gives INVALID, NULL, NaN or 0, and the first error stays. */
#include "train_tools.h"

#include "hone/llm.h"

#include <ctype.h>
#include <stdlib.h>

#define REFUSED(call) assert_int_equal((call), HONE_INVALID)
#define NOTHING(call) assert_null(call)
#define NO_NUMBER(call) assert_true(isnan(call))
#define ZERO(call) assert_int_equal((call), 0)

static char bytes[4096]; /* where results would go */
static void *const room = bytes;
static const hone_tensors none;

static void test_data_takes_null(void **state)
{
    (void)state;
    NOTHING(hone_take(NULL, 1, room));
    REFUSED(hone_train_test_split(NULL, NULL, 1, 1, room, room, room, room));
    NOTHING(hone_scaler_fit_opt(NULL, NULL));
    REFUSED(hone_scaler_apply(NULL, NULL));
    REFUSED(hone_scaler_invert(NULL, NULL));
    hone_scaler_free(NULL);
    REFUSED(hone_frame_add_numbers(NULL, "x", room));
    REFUSED(hone_frame_add_texts(NULL, "x", room));
    hone_frame_free(NULL);
    NOTHING(hone_frame_find(NULL, "x"));
    assert_int_equal(hone_frame_origin(NULL, 0), -1);
    assert_true(hone_column_missing(NULL, 1));
    NOTHING(hone_frame_take(NULL, 1, room));
    REFUSED(hone_frame_drop_missing(NULL, room));
    REFUSED(hone_frame_drop_duplicates(NULL, room));
    REFUSED(hone_pipeline_add_opt(NULL, (hone_pipeline_step){0}, NULL));
    REFUSED(hone_frame_split_opt(NULL, 1, 1, room, room, NULL));
    REFUSED(hone_frame_to_tensors(NULL, "x", room, room));
    REFUSED(hone_pipeline_invert_target(NULL, NULL, room));
    REFUSED(hone_pipeline_fit(NULL, NULL));
    REFUSED(hone_pipeline_apply(NULL, NULL, room, room));
    ZERO(hone_pipeline_features(NULL));
    NOTHING(hone_pipeline_feature(NULL, 1));
    ZERO(hone_pipeline_classes(NULL));
    NOTHING(hone_pipeline_class(NULL, 1));
    REFUSED(hone_pipeline_save(NULL, "x"));
    hone_pipeline_free(NULL);
    hone_npz_free(NULL);
    ZERO(hone_npz_count(NULL));
    NOTHING(hone_npz_name(NULL, 1));
    NOTHING(hone_npz_get(NULL, "x"));
    REFUSED(hone_image_save_opt(NULL, "x", NULL));
    NOTHING(hone_spectrogram_opt(NULL, 1, NULL));
    REFUSED(hone_time_windows(NULL, 1, 1, 1, room, room));
    hone_vocabulary_free(NULL);
    ZERO(hone_vocabulary_size(NULL));
    ZERO(hone_vocabulary_length(NULL));
    NOTHING(hone_vocabulary_word(NULL, 1));
    (void)hone_vocabulary_find(NULL, "x");
    NOTHING(hone_vocabulary_encode(NULL, 1, room));
    REFUSED(hone_vocabulary_save(NULL, "x"));
    NOTHING(hone_transform_apply(NULL, NULL, 1, 1, 1, 1));
    NOTHING(hone_dataset_from_tensors(NULL, NULL));
    hone_dataset_free(NULL);
    ZERO(hone_dataset_rows(NULL));
    ZERO(hone_dataset_classes(NULL));
    NOTHING(hone_dataset_class(NULL, 1));
    assert_int_equal(hone_dataset_label(NULL, 1), -1);
    NOTHING(hone_dataset_file(NULL, 1));
    NOTHING(hone_loader_new_opt(NULL, NULL));
    hone_loader_free(NULL);
    ZERO(hone_loader_rows(NULL));
    ZERO(hone_loader_batches(NULL));
    ZERO(hone_loader_batch_size(NULL));
    REFUSED(hone_loader_begin(NULL, 1));
    REFUSED(hone_loader_next(NULL, room, room));
    ZERO(hone_loader_inputs(NULL));
    ZERO(hone_loader_targets(NULL));
    REFUSED(hone_loader_next_many(NULL, room, room));
    NOTHING(hone_loader_weights(NULL));
    hone_records_free(NULL);
    ZERO(hone_records_count(NULL));
    NOTHING(hone_records_get(NULL, 1));
}

static void test_graph_takes_null(void **state)
{
    (void)state;
    NOTHING(hone_graph_retain(NULL));
    hone_graph_release(NULL);
    NOTHING(hone_graph_ctx(NULL));
    (void)hone_graph_mode(NULL);
    NOTHING(hone_input(NULL, "x", (hone_dtype){0}, HONE_SHAPE(2, 2)));
    NOTHING(hone_constant(NULL, NULL));
    NOTHING(hone_fill(NULL, (hone_dtype){0}, HONE_SHAPE(2, 2), 1));
    NOTHING(hone_variable(NULL, NULL));
    NOTHING(hone_assign(NULL, NULL));
    NOTHING(hone_cache_write(NULL, NULL, NULL));
    NOTHING(hone_cache_write_rows(NULL, NULL, NULL, NULL));
    REFUSED(hone_grad(NULL, 1, room, room));
    hone_checkpoint_begin(NULL);
    hone_checkpoint_end(NULL);
    NOTHING(hone_node_graph(NULL));
    (void)hone_node_shape(NULL);
    (void)hone_node_dtype(NULL);
    REFUSED(hone_node_read(NULL, 1, (hone_dtype){0}, room));
    NOTHING(hone_graph_dump(NULL, (hone_dump_format){0}));
    hone_function_free(NULL);
    REFUSED(hone_function_call_opt(NULL, room, NULL));
    NOTHING(hone_function_output(NULL, 1));
    ZERO(hone_function_bytes(NULL));
    hone_profile_stop(NULL);
    hone_profile_free(NULL);
    REFUSED(hone_profile_measure(NULL));
    ZERO(hone_profile_count(NULL));
    NOTHING(hone_profile_at(NULL, 1));
    (void)hone_profile_summarize(NULL);
    NOTHING(hone_profile_text(NULL, 1));
    REFUSED(hone_profile_save_trace(NULL, "x"));
}

static void test_io_takes_null(void **state)
{
    (void)state;
    hone_gguf_close(NULL);
    ZERO(hone_gguf_get_u64(NULL, "x", room));
    ZERO(hone_gguf_get_i64(NULL, "x", room));
    ZERO(hone_gguf_get_f64(NULL, "x", room));
    ZERO(hone_gguf_get_bool(NULL, "x", room));
    NOTHING(hone_gguf_get_string(NULL, "x", room));
    assert_int_equal(hone_gguf_array_count(NULL, "x"), -1);
    NOTHING(hone_gguf_array_string(NULL, "x", 1, room));
    ZERO(hone_gguf_array_f64(NULL, "x", 1, room));
    ZERO(hone_gguf_array_i64(NULL, "x", 1, room));
    ZERO(hone_gguf_key_count(NULL));
    NOTHING(hone_gguf_key(NULL, 1));
    ZERO(hone_gguf_tensor_count(NULL));
    NOTHING(hone_gguf_tensor(NULL, 1));
    NOTHING(hone_gguf_find(NULL, "x"));
    REFUSED(hone_gguf_set_u32(NULL, "x", 1));
    REFUSED(hone_gguf_set_i32(NULL, "x", 1));
    REFUSED(hone_gguf_set_u64(NULL, "x", 1));
    REFUSED(hone_gguf_set_f32(NULL, "x", 1));
    REFUSED(hone_gguf_set_bool(NULL, "x", true));
    REFUSED(hone_gguf_set_string(NULL, "x", "x"));
    REFUSED(hone_gguf_set_strings(NULL, "x", room, room, 1));
    REFUSED(hone_gguf_set_i32s(NULL, "x", room, 1));
    REFUSED(hone_gguf_set_f32s(NULL, "x", room, 1));
    REFUSED(hone_gguf_copy_key(NULL, NULL, "x"));
    REFUSED(hone_gguf_add_tensor(NULL, "x", (hone_dtype){0}, HONE_SHAPE(2, 2)));
    REFUSED(hone_gguf_write(NULL, "x", room, 1));
    REFUSED(hone_gguf_writer_commit(NULL));
    hone_gguf_writer_abandon(NULL);
    hone_safetensors_close(NULL);
    ZERO(hone_safetensors_count(NULL));
    NOTHING(hone_safetensors_at(NULL, 1));
    NOTHING(hone_safetensors_find(NULL, "x"));
    ZERO(hone_safetensors_metadata_count(NULL));
    ZERO(hone_safetensors_metadata_at(NULL, 1, room, room));
    NOTHING(hone_safetensors_metadata(NULL, "x"));
    REFUSED(hone_safetensors_set_metadata(NULL, "x", "x"));
    REFUSED(hone_safetensors_add_tensor(NULL, "x", (hone_dtype){0}, HONE_SHAPE(2, 2)));
    REFUSED(hone_safetensors_write(NULL, "x", room, 1));
    REFUSED(hone_safetensors_writer_commit(NULL));
    hone_safetensors_writer_abandon(NULL);
}

static void test_llm_takes_null(void **state)
{
    (void)state;
    hone_tokenizer_free(NULL);
    ZERO(hone_tokenizer_size(NULL));
    assert_int_equal(hone_tokenizer_special(NULL, (hone_special){0}), -1);
    ZERO(hone_tokenizer_is_end(NULL, 1));
    NOTHING(hone_tokenizer_text(NULL, 1, room));
    (void)hone_tokenizer_type(NULL, 1);
    assert_int_equal(hone_tokenizer_find(NULL, "x", 1), -1);
    NOTHING(hone_tokenizer_chat_template(NULL));
    hone_sampler_free(NULL);
    REFUSED(hone_sampler_next(NULL, room, 1, 1, room));
    hone_llm_free(NULL);
    NOTHING(hone_llm_model(NULL));
    NOTHING(hone_llm_tokenizer(NULL));
    (void)hone_llm_compute(NULL);
    ZERO(hone_llm_vocabulary(NULL));
    ZERO(hone_llm_context_length(NULL));
    NOTHING(hone_llm_logits(NULL, room, 1));
    NOTHING(hone_session_new(NULL, 1));
    hone_session_free(NULL);
    assert_int_equal(hone_session_length(NULL), -1);
    REFUSED(hone_session_rewind(NULL, 1));
    REFUSED(hone_session_feed(NULL, room, 1, room));
    NOTHING(hone_session_new_rows(NULL, 1, 1));
    ZERO(hone_session_rows(NULL));
    assert_int_equal(hone_session_row_length(NULL, 1), -1);
    REFUSED(hone_session_row_rewind(NULL, 1, 1));
    REFUSED(hone_session_row_feed(NULL, 1, room, 1, room));
    REFUSED(hone_session_row_copy(NULL, 1, 1, 1));
    REFUSED(hone_session_step(NULL, 1, room, room, room));
    NOTHING(hone_session_logits(NULL));
    REFUSED(hone_generate_opt(NULL, room, 1, NULL, NULL));
    REFUSED(hone_generate_batch_opt(NULL, NULL, 1, NULL));
    NOTHING(hone_llm_data_new_opt(NULL, NULL, NULL));
    hone_llm_data_free(NULL);
    (void)hone_llm_data_count(NULL);
    REFUSED(hone_llm_data_example(NULL, 1, room, room, room));
    REFUSED(hone_llm_evaluate(NULL, NULL, NULL));
    REFUSED(hone_llm_classify(NULL, NULL, 1, room, NULL, NULL, NULL));
    REFUSED(hone_llm_load_adapter(NULL, "x"));
    REFUSED(hone_llm_save_adapter(NULL, "x"));
    REFUSED(hone_llm_export_opt(NULL, "x", NULL));
    (void)hone_llm_describe(NULL);
    NOTHING(hone_finetune_new(NULL, NULL, NULL, NULL));
    hone_finetune_free(NULL);
    (void)hone_finetune_planned(NULL);
    REFUSED(hone_finetune_run(NULL));
}

static void test_metrics_takes_null(void **state)
{
    (void)state;
    hone_metric_free(NULL);
    NOTHING(hone_metric_name(NULL));
    ZERO(hone_metric_larger_is_better(NULL));
    REFUSED(hone_metric_update(NULL, NULL, NULL));
    REFUSED(hone_metric_update_weighted(NULL, NULL, NULL, NULL));
    REFUSED(hone_metric_update_text(NULL, "x", 1, room));
    NO_NUMBER(hone_metric_result(NULL));
    hone_metric_reset(NULL);
    REFUSED(hone_metric_curve(NULL, 1, room, room, room));
    NOTHING(hone_box_iou(NULL, NULL));
    NOTHING(hone_box_giou(NULL, NULL));
    REFUSED(hone_nms(NULL, NULL, NULL, 1, room, room));
    hone_detection_free(NULL);
    REFUSED(hone_detection_update(NULL, NULL, NULL, NULL, NULL, NULL));
    NO_NUMBER(hone_detection_result(NULL));
    NO_NUMBER(hone_detection_result_of(NULL, 1));
    hone_detection_reset(NULL);
    hone_confusion_free(NULL);
    REFUSED(hone_confusion_update(NULL, NULL, NULL));
    ZERO(hone_confusion_classes(NULL));
    ZERO(hone_confusion_at(NULL, 1, 1));
    hone_confusion_reset(NULL);
    NOTHING(hone_classification_report(NULL, room, 1));
}

static void test_nn_takes_null(void **state)
{
    (void)state;
    NOTHING(hone_apply(NULL, NULL));
    NOTHING(hone_apply_n(NULL, 1, room));
    NOTHING(hone_apply_mode(NULL, NULL, (hone_mode){0}));
    hone_layer_set_checkpointing(NULL, true);
    NOTHING(hone_layer_add(NULL, "x", NULL));
    hone_layer_free(NULL);
    hone_add_loss(NULL);
    NOTHING(hone_added_loss(NULL));
    REFUSED(hone_layer_initialize_opt(NULL, "x", (hone_initializer){0}, NULL));
    NOTHING(hone_weight(NULL, NULL, "x", HONE_SHAPE(2, 2), (hone_initializer){0}));
    NOTHING(hone_state(NULL, NULL, "x", HONE_SHAPE(2, 2), (hone_initializer){0}));
    NOTHING(hone_weight_of(NULL, NULL, "x"));
    NOTHING(hone_lengths(NULL));
    NOTHING(hone_recurrent_apply_opt(NULL, NULL, NULL));
    NOTHING(hone_model_of(NULL));
    NOTHING(hone_model_retain(NULL));
    hone_model_release(NULL);
    NOTHING(hone_model_ctx(NULL));
    NOTHING(hone_model_root(NULL));
    ZERO(hone_model_output_count(NULL));
    REFUSED(hone_model_apply(NULL, 1, room, 1, room));
    REFUSED(hone_model_build(NULL));
    REFUSED(hone_model_build_for(NULL, (hone_dtype){0}, HONE_SHAPE(2, 2)));
    NOTHING(hone_summary(NULL, (hone_dtype){0}, HONE_SHAPE(2, 2)));
    ZERO(hone_model_param_count(NULL));
    NOTHING(hone_model_param(NULL, 1));
    NOTHING(hone_model_find_param(NULL, "x"));
    NOTHING(hone_param_name(NULL));
    (void)hone_param_shape(NULL);
    (void)hone_param_dtype(NULL);
    ZERO(hone_param_trainable(NULL));
    REFUSED(hone_param_read(NULL, 1, room));
    REFUSED(hone_param_write(NULL, 1, room));
    REFUSED(hone_param_read_gradient(NULL, 1, room));
    REFUSED(hone_model_set_trainable(NULL, "x", true));
    REFUSED(hone_backward(NULL, NULL));
    REFUSED(hone_model_add_lora_opt(NULL, NULL));
}

static void test_op_takes_null(void **state)
{
    (void)state;
    NOTHING(hone_cast(NULL, (hone_dtype){0}));
    NOTHING(hone_matmul_opt(NULL, NULL, NULL));
    NOTHING(hone_activate_opt(NULL, (hone_activation){0}, NULL));
    NOTHING(hone_linear_opt(NULL, NULL, NULL, NULL));
    NOTHING(hone_conv_opt(NULL, NULL, NULL, NULL));
    NOTHING(hone_conv_transpose_opt(NULL, NULL, NULL, NULL));
    NOTHING(hone_max_pool_opt(NULL, HONE_SHAPE(2, 2), NULL));
    NOTHING(hone_average_pool_opt(NULL, HONE_SHAPE(2, 2), NULL));
    NOTHING(hone_resize_opt(NULL, NULL));
    NOTHING(hone_flat(NULL));
    NOTHING(hone_add(NULL, NULL));
    NOTHING(hone_sub(NULL, NULL));
    NOTHING(hone_mul(NULL, NULL));
    NOTHING(hone_div(NULL, NULL));
    NOTHING(hone_pow(NULL, NULL));
    NOTHING(hone_maximum(NULL, NULL));
    NOTHING(hone_minimum(NULL, NULL));
    NOTHING(hone_neg(NULL));
    NOTHING(hone_exp(NULL));
    NOTHING(hone_log(NULL));
    NOTHING(hone_sqrt(NULL));
    NOTHING(hone_rsqrt(NULL));
    NOTHING(hone_abs(NULL));
    NOTHING(hone_sin(NULL));
    NOTHING(hone_cos(NULL));
    NOTHING(hone_square(NULL));
    NOTHING(hone_reciprocal(NULL));
    NOTHING(hone_sigmoid(NULL));
    NOTHING(hone_tanh(NULL));
    NOTHING(hone_relu(NULL));
    NOTHING(hone_leaky_relu(NULL, 1));
    NOTHING(hone_gelu(NULL));
    NOTHING(hone_gelu_tanh(NULL));
    NOTHING(hone_silu(NULL));
    NOTHING(hone_softplus(NULL));
    NOTHING(hone_elu(NULL, 1));
    NOTHING(hone_celu(NULL, 1));
    NOTHING(hone_selu(NULL));
    NOTHING(hone_softsign(NULL));
    NOTHING(hone_hard_sigmoid(NULL));
    NOTHING(hone_hard_swish(NULL));
    NOTHING(hone_mish(NULL));
    NOTHING(hone_log_sigmoid(NULL));
    NOTHING(hone_clamp(NULL, 1, 1));
    NOTHING(hone_affine(NULL, 1, 1));
    NOTHING(hone_equal(NULL, NULL));
    NOTHING(hone_not_equal(NULL, NULL));
    NOTHING(hone_less(NULL, NULL));
    NOTHING(hone_less_equal(NULL, NULL));
    NOTHING(hone_greater(NULL, NULL));
    NOTHING(hone_greater_equal(NULL, NULL));
    NOTHING(hone_where(NULL, NULL, NULL));
    NOTHING(hone_sum(NULL, HONE_AXES(1), true));
    NOTHING(hone_mean(NULL, HONE_AXES(1), true));
    NOTHING(hone_max(NULL, HONE_AXES(1), true));
    NOTHING(hone_min(NULL, HONE_AXES(1), true));
    NOTHING(hone_argmax(NULL, 1));
    NOTHING(hone_variance(NULL, HONE_AXES(1), true, 1));
    NOTHING(hone_norm(NULL, HONE_AXES(1), true));
    NOTHING(hone_reshape(NULL, HONE_SHAPE(2, 2)));
    NOTHING(hone_squeeze(NULL, 1));
    NOTHING(hone_expand_dims(NULL, 1));
    NOTHING(hone_transpose(NULL, HONE_AXES(1)));
    NOTHING(hone_transpose2(NULL));
    NOTHING(hone_slice(NULL, 1, 1, 1, 1));
    REFUSED(hone_split(NULL, 1, 1, room));
    NOTHING(hone_broadcast_to(NULL, HONE_SHAPE(2, 2)));
    NOTHING(hone_pad(NULL, HONE_SHAPE(2, 2), HONE_SHAPE(2, 2), 1));
    NOTHING(hone_gather(NULL, NULL, 1));
    NOTHING(hone_scatter_add(NULL, NULL, 1, 1));
    NOTHING(hone_one_hot(NULL, 1, (hone_dtype){0}));
    NOTHING(hone_softmax(NULL));
    NOTHING(hone_log_softmax(NULL));
    NOTHING(hone_softmax_along(NULL, 1));
    NOTHING(hone_log_softmax_along(NULL, 1));
    NOTHING(hone_layer_norm(NULL, NULL, NULL, 1));
    NOTHING(hone_rms_norm(NULL, NULL, 1));
    NOTHING(hone_batch_norm(NULL, NULL, NULL, NULL, NULL, 1));
    NOTHING(hone_group_norm(NULL, 1, NULL, NULL, 1));
    NOTHING(hone_instance_norm(NULL, NULL, NULL, 1));
    NOTHING(hone_dropout(NULL, 1));
    NOTHING(hone_embedding(NULL, NULL));
    NOTHING(hone_glu(NULL, 1));
    NOTHING(hone_swiglu(NULL, NULL));
    NOTHING(hone_attention_opt(NULL, NULL, NULL, NULL));
    NOTHING(hone_rope_opt(NULL, NULL, NULL));
    NOTHING(hone_softmax_cross_entropy(NULL, NULL, NULL));
    NOTHING(hone_linear_cross_entropy(NULL, NULL, NULL, NULL));
    NOTHING(hone_binary_cross_entropy(NULL, NULL));
    NOTHING(hone_binary_cross_entropy_with_logits(NULL, NULL));
    NOTHING(hone_mse_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_mae_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_huber_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_log_cosh_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_mape_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_msle_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_poisson_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_hinge_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_binary_cross_entropy_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_squared_hinge_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_binary_cross_entropy_with_logits_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_focal_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_categorical_cross_entropy_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_categorical_cross_entropy_with_logits_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_cross_entropy_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_nll_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_sparse_categorical_cross_entropy_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_categorical_focal_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_sparse_categorical_focal_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_kl_divergence_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_cosine_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_dice_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_categorical_dice_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_ctc_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_triplet_loss_opt(NULL, NULL, NULL, NULL));
    NOTHING(hone_contrastive_loss_opt(NULL, NULL, NULL, NULL));
    NOTHING(hone_joined_triplet_loss_opt(NULL, NULL, NULL));
    NOTHING(hone_joined_contrastive_loss_opt(NULL, NULL, NULL));
}

static void test_optim_takes_null(void **state)
{
    (void)state;
    hone_optimizer_free(NULL);
    NOTHING(hone_optimizer_name(NULL));
    NO_NUMBER(hone_optimizer_learning_rate(NULL));
    hone_optimizer_set_learning_rate(NULL, 1);
    ZERO(hone_optimizer_steps(NULL));
    REFUSED(hone_optimizer_group_opt(NULL, "x", NULL));
    REFUSED(hone_optimizer_step_opt(NULL, NULL, room, NULL));
    REFUSED(hone_optimizer_minimize_opt(NULL, NULL, NULL, room, room, NULL));
    NOTHING(hone_ema_new_opt(NULL, NULL));
    hone_ema_free(NULL);
    REFUSED(hone_ema_update(NULL));
    REFUSED(hone_ema_swap(NULL));
    NO_NUMBER(hone_schedule_at(NULL, 1));
    hone_schedule_report(NULL, 1);
}

static void test_tensor_takes_null(void **state)
{
    (void)state;
    hone_tensor_free(NULL);
    (void)hone_tensor_dtype(NULL);
    (void)hone_tensor_shape(NULL);
    ZERO(hone_tensor_bytes(NULL));
    NOTHING(hone_tensor_data(NULL));
    REFUSED(hone_tensor_read(NULL, 1, 1, (hone_dtype){0}, room));
    REFUSED(hone_tensor_write(NULL, 1, 1, (hone_dtype){0}, room));
    NO_NUMBER(hone_tensor_get(NULL, 1));
    REFUSED(hone_tensor_fill_normal(NULL, 1, 1, 1));
    REFUSED(hone_tensor_fill_uniform(NULL, 1, 1, 1));
    REFUSED(hone_npy_save(NULL, "x"));
    NOTHING(hone_tensor_cast(NULL, HONE_F32));
}

static void test_train_takes_null(void **state)
{
    (void)state;
    REFUSED(hone_compile_opt(NULL, NULL));
    (void)hone_model_compute(NULL);
    hone_history_free(NULL);
    ZERO(hone_model_metric_count(NULL));
    NOTHING(hone_model_metric_name(NULL, 1));
    NO_NUMBER(hone_epoch_value(NULL, NULL, "x"));
    REFUSED(hone_fit_opt(NULL, NULL, NULL, room, NULL));
    REFUSED(hone_fit_loader_opt(NULL, NULL, room, NULL));
    REFUSED(hone_fit_many_opt(NULL, none, none, room, NULL));
    REFUSED(hone_evaluate(NULL, NULL, NULL, 1, room, room));
    REFUSED(hone_evaluate_metrics(NULL, NULL, NULL, 1, 1, room));
    REFUSED(hone_evaluate_weighted(NULL, NULL, NULL, NULL, 1, room, room, 1, room));
    REFUSED(hone_evaluate_loader(NULL, NULL, room, room, 1, room));
    REFUSED(hone_evaluate_many(NULL, none, none, NULL, 1, room, 1, room));
    NOTHING(hone_predict(NULL, NULL, 1));
    NOTHING(hone_predict_loader(NULL, NULL));
    REFUSED(hone_predict_many(NULL, none, 1, 1, room));
    REFUSED(hone_predict_loader_many(NULL, NULL, 1, room));
    NOTHING(hone_predict_frame(NULL, NULL, 1));
    REFUSED(hone_update_batch_norm(NULL, NULL, 1));
    REFUSED(hone_update_batch_norm_many(NULL, none, 1));
    REFUSED(hone_train_on_batch_opt(NULL, NULL, NULL, room, room, NULL));
    REFUSED(hone_test_on_batch_opt(NULL, NULL, NULL, room, room, NULL));
    REFUSED(hone_train_on_batch_many_opt(NULL, none, none, room, room, NULL));
    REFUSED(hone_test_on_batch_many_opt(NULL, none, none, room, room, NULL));
    NOTHING(hone_model_optimizer(NULL));
    hone_callback_free(NULL);
    ZERO(hone_early_stopping_stopped_epoch(NULL));
    assert_int_equal(hone_early_stopping_best_epoch(NULL), -1);
    NOTHING(hone_find_learning_rate_opt(NULL, NULL, NULL, NULL));
    NOTHING(hone_find_learning_rate_many_opt(NULL, none, none, NULL));
    hone_rate_finder_free(NULL);
    REFUSED(hone_model_save(NULL, "x"));
    REFUSED(hone_model_set_pipeline(NULL, NULL));
    NOTHING(hone_model_pipeline(NULL));
    REFUSED(hone_model_save_weights(NULL, "x"));
    hone_load_report_free(NULL);
    REFUSED(hone_model_load_weights_opt(NULL, "x", room, NULL));
    REFUSED(hone_events_scalar(NULL, "x", 1, 1));
    assert_int_equal(hone_events_close(NULL), HONE_OK);
}

/* Every public function whose first argument is an object is called above. */
static void test_no_function_is_forgotten(void **state)
{
    (void)state;
    static const char *const headers[] = {"data", "graph", "io", "llm", "metrics", "nn", "op", "optim", "tensor", "train"};
    FILE *self = fopen(HONE_SOURCE_DIR "/tests/test_null.c", "r");
    assert_non_null(self);
    char *text = calloc(1, 1 << 20), path[512], line[512], name[128];
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 20) - 1, self) > 0);
    fclose(self);
    int found = 0;
    for (size_t h = 0; h < HONE_ARRAY_LEN(headers); h++) {
        snprintf(path, sizeof path, "%s/include/hone/%s.h", HONE_SOURCE_DIR, headers[h]);
        FILE *header = fopen(path, "r");
        assert_non_null(header);
        while (fgets(line, sizeof line, header)) {
            char *open = strchr(line, '('), *begin = open;
            if (strncmp(line, "HONE_API", 8) != 0 || !open) continue;
            while (begin > line && (isalnum((unsigned char)begin[-1]) || begin[-1] == '_')) begin--;
            snprintf(name, sizeof name, "%.*s(", (int)(open - begin), begin);
            const char *first = open + 1;
            if (!strncmp(first, "const ", 6)) first += 6;
            size_t type = strspn(first, "abcdefghijklmnopqrstuvwxyz0123456789_");
            bool object = !strncmp(first, "hone_", 5) && !strncmp(first + type, " *", 2);
            bool context = !strncmp(first, "hone_ctx ", 9), options = type > 5 && !strncmp(first + type - 5, "_opts", 5);
            if (!object || context || options) continue;
            if (!strstr(text, name)) fail_msg("%s.h: %s) is not called with NULL", headers[h], name);
            found++;
        }
        fclose(header);
    }
    free(text);
    assert_true(found > 350);
}

/* The model of a layer that was refused: nothing crashes, and the message is still that of the layer. */
static void test_the_first_error_stays(void **state)
{
    (void)state;
    hone_ctx *c = hone_ctx_new(.threads = 1);
    hone_tensor *x = hone_tensor_new(c, HONE_F32, HONE_SHAPE(2, 2)), *outputs[1];
    hone_model *m = hone_model_of(hone_sequential(c, hone_dense(c, 0), hone_dense(c, 1)));
    assert_null(m);
    char message[256];
    snprintf(message, sizeof message, "%s", hone_error(c));
    assert_non_null(strstr(message, "dense"));
    double loss = 0, accuracy = 0;
    hone_history *history = (void *)&loss;
    REFUSED(hone_compile(m));
    REFUSED(hone_fit(m, x, x, &history, .epochs = 2));
    assert_null(history);
    REFUSED(hone_evaluate(m, x, x, 1, &loss, &accuracy));
    assert_true(isnan(loss) && isnan(accuracy));
    NOTHING(hone_predict(m, x, 1));
    REFUSED(hone_predict_many(m, HONE_TENSORS(x), 1, 1, outputs));
    NOTHING(outputs[0]);
    REFUSED(hone_train_on_batch(m, x, x, &loss, &accuracy));
    assert_string_equal(hone_error(c), message);
    hone_metric *metric = hone_metric_new(c, "no such metric");
    REFUSED(hone_metric_update(metric, x, x));
    NO_NUMBER(hone_metric_result(metric));
    assert_string_equal(hone_error(c), message);
    hone_tensor_free(x);
    hone_ctx_release(c);
}

/* What reads or writes a file says so; nothing prints "(null)". */
static void test_a_path_is_wanted(void **state)
{
    (void)state;
    hone_ctx *c = hone_ctx_new(.threads = 1);
    hone_tensor *x = hone_tensor_new(c, HONE_F32, HONE_SHAPE(2, 2));
    REFUSED(hone_npy_save(x, NULL));
    assert_non_null(strstr(hone_error(c), "no path was given"));
#define WANTS_A_PATH(call) \
    NOTHING(call); \
    assert_int_equal(hone_ctx_status(c), HONE_INVALID); \
    assert_non_null(strstr(hone_error(c), "no path was given")); \
    hone_clear_error(c)
    hone_clear_error(c);
    WANTS_A_PATH(hone_npy_load(c, NULL));
    WANTS_A_PATH(hone_frame_load(c, NULL));
    WANTS_A_PATH(hone_pipeline_load(c, NULL));
    WANTS_A_PATH(hone_model_load(c, NULL));
    WANTS_A_PATH(hone_vocabulary_load(c, NULL));
    hone_tensor_free(x);
    hone_ctx_release(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_data_takes_null),
        TEST(test_graph_takes_null),
        TEST(test_io_takes_null),
        TEST(test_llm_takes_null),
        TEST(test_metrics_takes_null),
        TEST(test_nn_takes_null),
        TEST(test_op_takes_null),
        TEST(test_optim_takes_null),
        TEST(test_tensor_takes_null),
        TEST(test_train_takes_null),
        TEST(test_no_function_is_forgotten),
        TEST(test_the_first_error_stays),
        TEST(test_a_path_is_wanted),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
