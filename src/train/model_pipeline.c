/* The pipeline that makes a model's input of a frame: the model has it, and is saved with it. */
#include "train/train.h"
#include "data/data.h"
#include "data/pipeline.h"

#include <jansson.h>

static void free_pipeline(void *pipeline) { hone_pipeline_free(pipeline); }

void hone__model_take_pipeline(hone_model *model, hone_pipeline *pipeline)
{
    hone_pipeline_free(model->pipeline);
    model->pipeline = pipeline;
    model->pipeline_free = free_pipeline;
}

/* A copy is made the way it is saved, so what could not be saved is refused here. */
hone_status hone_model_set_pipeline(hone_model *model, const hone_pipeline *pipeline)
{
    if (!model) return HONE_INVALID;
    hone_ctx *ctx = model->ctx;
    if (!hone__ok(ctx)) return ctx->status;
    if (pipeline && !pipeline->is_fitted)
        return hone__fail_run(ctx, HONE_STATE, "the pipeline is not fitted: call hone_pipeline_fit first");
    json_t *json = pipeline ? hone__pipeline_to_json(pipeline) : NULL;
    if (pipeline && !json) return hone__fail_run(ctx, HONE_INVALID, "the pipeline: a name or a value is no text in UTF-8");
    hone_pipeline *copy = json ? hone__pipeline_from_json(ctx, "the pipeline", json) : NULL;
    json_decref(json);
    if (copy || !pipeline) hone__model_take_pipeline(model, copy);
    return ctx->status;
}

const hone_pipeline *hone_model_pipeline(const hone_model *model) { return model ? model->pipeline : NULL; }

hone_tensor *hone_predict_frame(hone_model *model, const hone_frame *frame, int batch_size)
{
    if (!model) return NULL;
    hone_ctx *ctx = model->ctx;
    hone_tensor *x = NULL, *y = NULL;
    if (!hone__ok(ctx)) return NULL;
    if (!model->pipeline)
        hone__fail_run(ctx, HONE_STATE, "predict: the model has no pipeline: hone_model_set_pipeline gives it the one that made its "
                                        "training data");
    else if (!frame || !frame->rows)
        hone__fail_run(ctx, HONE_INVALID, "predict: a frame with rows is wanted");
    else if (hone_pipeline_apply(model->pipeline, frame, &x, NULL) == HONE_OK)
        y = hone_predict(model, x, batch_size);
    hone_tensor_free(x);
    return y;
}
