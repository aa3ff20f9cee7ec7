//! Who asks (principal) and whether they may (authoriser).
