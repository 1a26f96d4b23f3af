"""Reading a whole dataset, for tests of several modules."""

from medsam_utils.case import BadCaseError


def read_all(dataset):
    """Read all cases: (case by id, the messages of what was left out)."""
    listing = dataset.list()
    cases, excluded = {}, [exclusion.reason for exclusion in listing.exclusions]
    for reference in listing.references:
        try:
            cases[reference.case_id] = dataset.load(reference)
        except BadCaseError as error:
            excluded.append(str(error))
    return cases, excluded
