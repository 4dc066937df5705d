"""River: change detectors fed value by value, the reference first; steps at which they report a change."""

from river import drift
from stepping import main

DETECTORS = {
    "ADWIN": lambda setting: drift.ADWIN(delta=setting),
    "PageHinkley": lambda setting: drift.PageHinkley(threshold=setting),
    "KSWIN": lambda setting: drift.KSWIN(alpha=setting, seed=1),
    "DDM": lambda setting: drift.binary.DDM(drift_threshold=setting),
    "EDDM": lambda setting: drift.binary.EDDM(beta=setting),
    "HDDM_A": lambda setting: drift.binary.HDDMA(drift_confidence=setting),
    "HDDM_W": lambda setting: drift.binary.HDDMW(drift_confidence=setting),
}


def alarms(detector, reference, stream, rows, first):
    """Steps with a change, until the first one at or after ``first``."""
    update = detector.update
    for value in reference.tolist():
        update(value)
    steps = []
    for row, value in enumerate(stream.tolist()):
        update(value)
        if detector.drift_detected:
            steps.append(row // rows)
            if row // rows >= first:
                break
    return sorted(set(steps))


def scaled(detector, reference, stream):
    """Page-Hinkley's threshold is in the unit of the values: both in standard deviations of the reference."""
    if detector != "PageHinkley":
        return reference, stream
    mean, sd = reference.mean(), reference.std()
    return (reference - mean) / sd, (stream - mean) / sd


def answer(arrays, options):
    """Alarm steps by setting and run."""
    pairs = [scaled(options["detector"], *pair) for pair in zip(arrays["reference"], arrays["stream"], strict=True)]
    make, rows, first = DETECTORS[options["detector"]], options["rows"], options["first"]
    return {
        repr(setting): [
            alarms(make(setting), reference[-options["warm"] :], stream, rows, first) for reference, stream in pairs
        ]
        for setting in options["settings"]
    }


main(answer)
