"""Reading a whole dataset and changing a file, for tests of several modules."""

import pydicom

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


def edit(path, **attributes):
    """Set attributes of a DICOM file; None removes one."""
    dataset = pydicom.dcmread(path)
    for name, value in attributes.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path)
