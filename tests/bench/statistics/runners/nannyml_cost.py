"""NannyML: univariate drift of the live frame, fitted before."""

import nannyml as nml
from costing import frames, least
from stepping import main


def answer(arrays, options):
    reference, live = frames(arrays)
    for frame in (reference, live):
        for name in frame.select_dtypes("object"):
            frame[name] = frame[name].astype("category")
    calculator = nml.UnivariateDriftCalculator(column_names=list(live.columns), chunk_size=options["chunk"])
    calculator.fit(reference)
    return {"seconds": least(lambda: calculator.calculate(live), options["repeats"]), "rows": len(live)}


main(answer)
