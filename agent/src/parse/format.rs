//! In which format records are: told by each record's first byte, or by whoever knows better.

/// How records are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordFormat {
    /// Each record shows whether it is CRI's or docker's.
    #[default]
    Auto,
    Cri,
    Docker,
    /// Lines are no records: each is sent as it stands, with the time of reading.
    Raw,
}

impl RecordFormat {
    /// As the configuration and pods name them.
    pub(crate) const NAMES: [(&str, Self); 4] = [("auto", Self::Auto), ("cri", Self::Cri), ("docker", Self::Docker), ("raw", Self::Raw)];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, format)| *format)
    }

    /// What the operator says goes before what a pod does.
    pub(crate) fn or(self, wish: Self) -> Self {
        if self == Self::Auto { wish } else { self }
    }

    pub(crate) fn reads_cri(self) -> bool {
        matches!(self, Self::Auto | Self::Cri)
    }

    pub(crate) fn reads_docker(self) -> bool {
        matches!(self, Self::Auto | Self::Docker)
    }

    /// Of records that are neither, as counters and metadata name it.
    pub(crate) fn name_of_errors(self) -> &'static str {
        if self == Self::Docker { "docker" } else { "cri" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_have_names_and_the_operators_goes_before_the_pods() {
        assert_eq!(RecordFormat::named("docker"), Some(RecordFormat::Docker));
        assert_eq!(RecordFormat::named("json"), None);
        assert_eq!(RecordFormat::Auto.or(RecordFormat::Raw), RecordFormat::Raw);
        assert_eq!(RecordFormat::Cri.or(RecordFormat::Raw), RecordFormat::Cri);
    }
}
