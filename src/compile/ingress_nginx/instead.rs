//! What takes the place of what is not read here, by families of names.

/// For a family of which nothing is known.
pub(super) const NOTHING: &str = "nothing, this version does not have it";

/// Beginnings of names, and what takes the place of those that begin so; the first that fits counts.
pub(super) type Families = [(&'static str, &'static str)];

/// What takes the place of this one.
pub(super) fn of(families: &Families, name: &str) -> &'static str {
    families.iter().find(|(family, _)| name.starts_with(family)).map_or(NOTHING, |(_, instead)| instead)
}

/// Holds that each family is found by its own name.
#[cfg(test)]
pub(super) fn assert_no_family_hides_another(families: &Families) {
    for (number, (family, _)) in families.iter().enumerate() {
        assert_eq!(families.iter().position(|(other, _)| family.starts_with(other)), Some(number), "{family}");
    }
}
