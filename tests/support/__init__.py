"""What tests share: real servers, waiting without sleeping, the check that nothing is left running."""
