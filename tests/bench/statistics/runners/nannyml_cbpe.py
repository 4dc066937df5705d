"""NannyML: accuracy without labels by chunk (CBPE)."""

import nannyml as nml
import pandas as pd
from stepping import main


def answer(arrays, options):
    def frame(scores):
        return pd.DataFrame({"p": scores, "said": (scores >= options["threshold"]).astype(int)})

    reference = frame(arrays["reference_scores"]).assign(truth=arrays["reference_labels"].astype(int))
    estimator = nml.CBPE(
        y_pred_proba="p",
        y_pred="said",
        y_true="truth",
        metrics=["accuracy"],
        chunk_size=options["chunk"],
        problem_type="classification_binary",
    )
    estimator.fit(reference)
    found = estimator.estimate(frame(arrays["scores"])).filter(period="analysis").to_df(multilevel=False)
    return {"errors": [1.0 - float(v) for v in found["accuracy_value"]]}


main(answer)
