"""NannyML: univariate drift by chunk; a chunk's value stands at its last step."""

import nannyml as nml
import pandas as pd
from stepping import main


def answer(arrays, options):
    rows, window, method = options["rows"], options["window"], options["method"]
    categorical = options["categorical"]
    paths = []
    for reference, stream in zip(arrays["reference"], arrays["stream"], strict=True):
        cast = (
            (lambda values: pd.Series(values.astype(int).astype(str), dtype="category")) if categorical else pd.Series
        )
        calculator = nml.UnivariateDriftCalculator(
            column_names=["x"],
            treat_as_categorical=["x"] if categorical else [],
            continuous_methods=[method] if not categorical else ["jensen_shannon"],
            categorical_methods=[method] if categorical else ["jensen_shannon"],
            chunk_size=window,
        )
        calculator.fit(pd.DataFrame({"x": cast(reference)}))
        frame = (
            calculator.calculate(pd.DataFrame({"x": cast(stream)})).filter(period="analysis").to_df(multilevel=False)
        )
        values = frame[f"x_{method}_value"].to_numpy()
        path = [None] * (len(stream) // rows)
        for chunk in range(len(stream) // window):
            step = (chunk + 1) * window // rows - 1
            if step >= options["first"]:
                path[step] = float(values[chunk])
        paths.append(path)
    return paths


main(answer)
