//! The words that mean something to us, found at a glance among those that do not.

/// What a keyword or a name means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Word {
    /// Nothing, or no word at all.
    #[default]
    Other,
    /// No word either: a string that was read as statements.
    Body,
    Alter,
    As,
    Begin,
    Close,
    Commit,
    Create,
    Deallocate,
    Declare,
    Discard,
    Do,
    Drop,
    Else,
    Execute,
    Explain,
    Format,
    Function,
    Global,
    Grant,
    Hold,
    Insert,
    Into,
    Language,
    Listen,
    Load,
    Local,
    Loop,
    Merge,
    On,
    PlPgSql,
    Prepare,
    Procedure,
    Replace,
    Reset,
    Revoke,
    Set,
    Sql,
    Temp,
    Then,
    Transaction,
    True,
    Unlisten,
    Update,
    With,
    // Names.
    AdvisoryLock,
    AdvisoryUnlock,
    /// What tells what a session has drawn from a sequence.
    Currval,
    DblinkConnect,
    /// What draws.
    Nextval,
    PgSettings,
    PgTemp,
    /// What runs a text that it is given.
    RunText,
    SetConfig,
    SetSeed,
}

/// Sorted by the first letter.
const WORDS: [(&str, Word); 64] = [
    ("alter", Word::Alter),
    ("as", Word::As),
    ("begin", Word::Begin),
    ("close", Word::Close),
    ("commit", Word::Commit),
    ("concat", Word::Format),
    ("create", Word::Create),
    ("currval", Word::Currval),
    ("dblink_connect", Word::DblinkConnect),
    ("deallocate", Word::Deallocate),
    ("declare", Word::Declare),
    ("discard", Word::Discard),
    ("do", Word::Do),
    ("drop", Word::Drop),
    ("else", Word::Else),
    ("execute", Word::Execute),
    ("explain", Word::Explain),
    ("format", Word::Format),
    ("function", Word::Function),
    ("global", Word::Global),
    ("grant", Word::Grant),
    ("hold", Word::Hold),
    ("insert", Word::Insert),
    ("into", Word::Into),
    ("language", Word::Language),
    ("lastval", Word::Currval),
    ("listen", Word::Listen),
    ("load", Word::Load),
    ("local", Word::Local),
    ("loop", Word::Loop),
    ("merge", Word::Merge),
    ("nextval", Word::Nextval),
    ("on", Word::On),
    ("pg_advisory_lock", Word::AdvisoryLock),
    ("pg_advisory_lock_shared", Word::AdvisoryLock),
    ("pg_advisory_unlock_all", Word::AdvisoryUnlock),
    ("pg_settings", Word::PgSettings),
    ("pg_temp", Word::PgTemp),
    ("pg_try_advisory_lock", Word::AdvisoryLock),
    ("pg_try_advisory_lock_shared", Word::AdvisoryLock),
    ("plpgsql", Word::PlPgSql),
    ("prepare", Word::Prepare),
    ("procedure", Word::Procedure),
    ("query_to_xml", Word::RunText),
    ("query_to_xml_and_xmlschema", Word::RunText),
    ("query_to_xmlschema", Word::RunText),
    ("replace", Word::Replace),
    ("reset", Word::Reset),
    ("revoke", Word::Revoke),
    ("set", Word::Set),
    ("set_config", Word::SetConfig),
    ("setseed", Word::SetSeed),
    ("setval", Word::Nextval),
    ("sql", Word::Sql),
    ("temp", Word::Temp),
    ("temporary", Word::Temp),
    ("then", Word::Then),
    ("transaction", Word::Transaction),
    ("true", Word::True),
    ("ts_rewrite", Word::RunText),
    ("ts_stat", Word::RunText),
    ("unlisten", Word::Unlisten),
    ("update", Word::Update),
    ("with", Word::With),
];

/// Beginnings of names, however they go on.
const BEGINNINGS: [(&str, Word); 2] = [("dblink_connect_", Word::DblinkConnect), ("pg_temp_", Word::PgTemp)];

/// The words with the same first letter.
#[derive(Clone, Copy)]
struct Letter {
    /// A bit for each length that one of them has.
    lengths: u64,
    from: usize,
    to: usize,
}

static LETTERS: [Letter; 256] = {
    let mut letters = [Letter { lengths: 0, from: 0, to: 0 }; 256];
    let mut index = 0;
    while index < WORDS.len() {
        let word = WORDS[index].0.as_bytes();
        let letter = &mut letters[word[0] as usize];
        if letter.lengths == 0 {
            letter.from = index;
        }
        letter.lengths |= 1 << word.len();
        letter.to = index + 1;
        letters[word[0].to_ascii_uppercase() as usize] = letters[word[0] as usize];
        index += 1;
    }
    let mut index = 0;
    while index < BEGINNINGS.len() {
        let word = BEGINNINGS[index].0.as_bytes();
        letters[word[0] as usize].lengths |= u64::MAX << word.len();
        letters[word[0].to_ascii_uppercase() as usize] = letters[word[0] as usize];
        index += 1;
    }
    letters
};

/// A bit for each length that words have which matter.
#[derive(Clone, Copy)]
struct Lengths {
    /// Those that begin with the letter.
    first: u64,
    /// Those that end with it.
    last: u64,
    /// Those that may go on as one of [`BEGINNINGS`] does whose first letter it is, or whose third.
    begin: u64,
    third: u64,
}

static LENGTHS: [Lengths; 256] = {
    let mut lengths = [Lengths { first: 0, last: 0, begin: 0, third: 0 }; 256];
    let mut index = 0;
    while index < WORDS.len() {
        let (word, meaning) = (WORDS[index].0.as_bytes(), WORDS[index].1);
        if meaning.is_cause() {
            let (first, last) = (word[0], word[word.len() - 1]);
            lengths[first as usize].first |= 1 << word.len();
            lengths[first.to_ascii_uppercase() as usize].first |= 1 << word.len();
            lengths[last as usize].last |= 1 << word.len();
            lengths[last.to_ascii_uppercase() as usize].last |= 1 << word.len();
        }
        index += 1;
    }
    let mut index = 0;
    while index < BEGINNINGS.len() {
        let word = BEGINNINGS[index].0.as_bytes();
        lengths[word[0] as usize].begin |= u64::MAX << word.len();
        lengths[word[0].to_ascii_uppercase() as usize].begin |= u64::MAX << word.len();
        lengths[word[2] as usize].third |= u64::MAX << word.len();
        lengths[word[2].to_ascii_uppercase() as usize].third |= u64::MAX << word.len();
        index += 1;
    }
    lengths
};

impl Word {
    /// What an unquoted word means.
    #[inline]
    pub(super) fn find(word: &[u8]) -> Self {
        let Some(&first) = word.first() else { return Self::Other };
        let letter = LETTERS[usize::from(first)];
        if word.len() < 64 && (letter.lengths >> word.len()) & 1 == 1 {
            Self::look_up(word, letter)
        } else {
            Self::Other
        }
    }

    /// What a name in double quotes means: a keyword is none there, and its letters are as they are.
    pub(super) fn find_name(name: &[u8]) -> Self {
        let word = Self::find(name);
        if word.is_name() && !name.iter().any(u8::is_ascii_uppercase) { word } else { Self::Other }
    }

    fn look_up(word: &[u8], letter: Letter) -> Self {
        let known = WORDS[letter.from..letter.to].iter().find(|(known, _)| word.eq_ignore_ascii_case(known.as_bytes()));
        let begins =
            |start: &str| word.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()));
        let found = known.or_else(|| BEGINNINGS.iter().find(|(start, _)| begins(start)));
        found.map_or(Self::Other, |&(_, word)| word)
    }

    /// Whether a statement with this word may have effects, where all others in it don't matter: most words have a
    /// meaning only beside one that matters.
    #[inline]
    pub(super) fn matters(word: &[u8]) -> bool {
        let (Some(&first), Some(&last), 0..64) = (word.first(), word.last(), word.len()) else { return false };
        let (by_first, by_last, length) = (&LENGTHS[usize::from(first)], &LENGTHS[usize::from(last)], 1 << word.len());
        let begins = by_first.begin & length != 0
            && word.get(2).is_some_and(|third| LENGTHS[usize::from(*third)].third & length != 0);
        // Hardly any passes here.
        (by_first.first & by_last.last & length != 0 || begins) && Self::find(word).is_cause()
    }

    const fn is_cause(self) -> bool {
        !matches!(
            self,
            Self::Other
                | Self::As
                | Self::Begin
                | Self::Commit
                | Self::Drop
                | Self::Else
                | Self::Execute
                | Self::Explain
                | Self::Format
                | Self::Function
                | Self::Global
                | Self::Grant
                | Self::Hold
                | Self::Insert
                | Self::Into
                | Self::Language
                | Self::Local
                | Self::Loop
                | Self::Merge
                | Self::On
                | Self::PlPgSql
                | Self::Procedure
                | Self::Replace
                | Self::Revoke
                | Self::Sql
                | Self::Then
                | Self::Transaction
                | Self::True
                | Self::Update
                | Self::With
        )
    }

    /// In the body of a function a statement begins behind these.
    pub(super) fn begins_statement(self) -> bool {
        matches!(self, Self::Begin | Self::Then | Self::Else | Self::Loop)
    }

    /// A statement that begins with it is kept and read as a whole.
    pub(super) fn is_kept(self) -> bool {
        matches!(self, Self::Set | Self::Reset | Self::Discard | Self::Deallocate)
    }

    /// CREATE, whatever stands between it and TEMP.
    pub(super) fn leads_to_temp(self) -> bool {
        matches!(self, Self::Create | Self::Replace | Self::Local | Self::Global)
    }

    pub(super) fn leads_to_routine(self) -> bool {
        matches!(self, Self::Create | Self::Replace | Self::Alter)
    }

    fn is_name(self) -> bool {
        matches!(
            self,
            Self::AdvisoryLock
                | Self::Currval
                | Self::DblinkConnect
                | Self::Nextval
                | Self::PgSettings
                | Self::PgTemp
                | Self::SetConfig
                | Self::SetSeed
        )
    }
}
