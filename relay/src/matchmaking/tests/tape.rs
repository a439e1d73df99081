//! Random tapes of events, from a seed.

use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::matchmaking::{
    Band, Countries, Country, Criteria, Gender, GenderSet, Level, Person, Ticket, TicketId, TopicMode, TopicSet,
};
use crate::time::Millis;

pub(crate) const POOLS: [&str; 2] = ["general", "oet-nurse"];

#[derive(Clone, Debug)]
pub(crate) enum Event {
    Enqueue {
        pool: usize,
        ticket: Ticket,
    },
    Cancel(TicketId),
    Tune(TicketId, Criteria),
    Avoid(TicketId, Person),
    /// Time passes and the timer is served.
    Wait,
}

/// The kind of crowd a tape is about.
#[derive(Clone, Copy)]
struct Crowd {
    people: u64,
    avoids: usize,
    /// Of a hundred.
    choosy: u32,
    women: f64,
    minors: f64,
    pace_ms: u64,
    topics: &'static [u8],
}

pub(crate) struct Tape {
    rng: StdRng,
    crowd: Crowd,
    now: u64,
    tickets: u64,
}

impl Tape {
    pub(crate) fn new(seed: u64) -> Tape {
        let mut rng = StdRng::seed_from_u64(seed);
        let crowd = Crowd {
            people: *[30, 120, 100_000].choose(&mut rng).unwrap(),
            avoids: *[0, 3, 12].choose(&mut rng).unwrap(),
            choosy: *[20, 60, 90].choose(&mut rng).unwrap(),
            women: *[0.1, 0.45, 0.9].choose(&mut rng).unwrap(),
            minors: *[0.0, 0.3, 0.7].choose(&mut rng).unwrap(),
            pace_ms: *[5, 150, 1200].choose(&mut rng).unwrap(),
            topics: [&[0, 63][..], &[3, 17, 18, 40, 62], &[1, 2, 4, 8, 16, 32, 33, 34, 35, 36]]
                .choose(&mut rng)
                .unwrap(),
        };
        let now = rng.random_range(0..100_000);
        Tape { rng, crowd, now, tickets: 0 }
    }

    /// The next event and its time. The clock jumps now and then, forwards and back.
    pub(crate) fn next(&mut self) -> (Millis, Event) {
        self.now += match self.rng.random_range(0..1000) {
            0..10 => self.rng.random_range(0..60_000),
            10..40 => self.rng.random_range(0..6_000),
            40..200 => 0,
            _ => self.rng.random_range(0..=2 * self.crowd.pace_ms),
        };
        let now = if self.rng.random_ratio(1, 100) {
            self.now.saturating_sub(self.rng.random_range(0..20_000))
        } else {
            self.now
        };
        let event = match self.rng.random_range(0..100) {
            0..70 => Event::Enqueue { pool: usize::from(self.rng.random_ratio(1, 6)), ticket: self.ticket(now) },
            70..77 => Event::Cancel(self.some_ticket()),
            77..85 => Event::Tune(self.some_ticket(), self.criteria()),
            85..88 => Event::Avoid(self.some_ticket(), self.person()),
            _ => Event::Wait,
        };
        (Millis(now), event)
    }

    fn some_ticket(&mut self) -> TicketId {
        TicketId(self.rng.random_range(self.tickets.saturating_sub(60)..=self.tickets))
    }

    fn person(&mut self) -> Person {
        Person(self.rng.random_range(0..self.crowd.people).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn ticket(&mut self, now: u64) -> Ticket {
        self.tickets += 1;
        // Now and then a number that is taken.
        let id = if self.rng.random_ratio(1, 50) { self.some_ticket() } else { TicketId(self.tickets) };
        let since = match self.rng.random_range(0..10) {
            0 => now.saturating_sub(self.rng.random_range(0..20_000)),
            1 => now.saturating_sub(self.rng.random_range(0..2_000)),
            2 => now + self.rng.random_range(0..3_000),
            _ => now,
        };
        let Criteria { wants, level, max_distance, topics, topic_mode, countries } = self.criteria();
        let country = self.country();
        let gender = match self.rng.random_ratio(1, 12) {
            true => Gender::X,
            false if self.rng.random_bool(self.crowd.women) => Gender::F,
            false => Gender::M,
        };
        let band = match self.rng.random_bool(self.crowd.minors) {
            true => *[Band::B13_15, Band::B16_17].choose(&mut self.rng).unwrap(),
            false => Band::Adult,
        };
        let person = self.person();
        let avoid = (0..self.rng.random_range(0..=self.crowd.avoids)).map(|_| self.person()).collect();
        let recent = (0..self.rng.random_range(0..=self.crowd.avoids)).map(|_| self.person()).collect();
        let (meeting, since) = (None, Millis(since));
        let wishes = Ticket { wants, level, max_distance, topics, topic_mode, countries, ..super::ticket(0, 0) };
        Ticket { id, person, band, gender, avoid, recent, country, meeting, since, ..wishes }
    }

    fn criteria(&mut self) -> Criteria {
        let choosy = self.rng.random_ratio(self.crowd.choosy, 100);
        let wants = match choosy {
            true => self.some_genders(),
            false => GenderSet::ANY,
        };
        let level = Level::ALL[self.rng.random_range(0..6).min(self.rng.random_range(0..6))];
        let max_distance = if self.rng.random_bool(0.6) { 5 } else { self.rng.random_range(0..5) };
        let chosen = *[0, 1, 1, 2, 3, 5].choose(&mut self.rng).unwrap();
        let topics: TopicSet = self.crowd.topics.choose_multiple(&mut self.rng, chosen).copied().collect();
        let topic_mode = if self.rng.random_ratio(1, 5) { TopicMode::Require } else { TopicMode::Prefer };
        let countries = self.countries();
        Criteria { wants, level, max_distance, topics, topic_mode, countries }
    }

    /// Few, so that they matter.
    fn country(&mut self) -> Country {
        match self.rng.random_range(0..4) {
            0 => Country::UNKNOWN,
            which => Country::parse(["VN", "DE", "BR"][which - 1]).unwrap(),
        }
    }

    fn countries(&mut self) -> Countries {
        if self.rng.random_bool(0.85) {
            return Countries::ANY;
        }
        let codes = ["VN", "DE", "BR", "FR"].choose_multiple(&mut self.rng, 2);
        Countries::new(&codes.map(|code| Country::parse(code).unwrap()).collect::<Vec<_>>()).unwrap()
    }

    fn some_genders(&mut self) -> GenderSet {
        let bits = self.rng.random_range(1..8);
        Gender::ALL.into_iter().filter(|&gender| bits >> gender as u8 & 1 == 1).collect()
    }
}
