//! How a caller speaks: which codec's packets, and whether it pauses.
//!
//! Talk spurts: a caller alternates between talking and silence, each exponentially long, with the means ITU-T P.59 gives
//! for conversational speech (1.004 s and 1.587 s: 38.75 % of the time is talk). It begins talking. While it talks a packet
//! goes every 20 ms; in silence one shortest packet of comfort noise every 400 ms since the last packet, as Opus does with
//! DTX. RTP timestamps go on through silence, sequence numbers count what is sent, the marker begins each spurt (RFC 3551
//! §4.1). Both sides of a call alternate independently, from the run's seed.

use std::{str::FromStr, time::Duration};

use super::packet::{PAYLOAD, RATE, SHORTEST, mix};

/// Means of ITU-T P.59 (table 1).
pub const TALK: Duration = Duration::from_millis(1004);
pub const SILENCE: Duration = Duration::from_millis(1587);
/// Ticks of 20 ms between packets of comfort noise.
const COMFORT: u32 = 20;
/// Opus at 32 kbit/s and 20 ms.
const OPUS_PAYLOAD: usize = 80;

/// As `media.kind` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Voice {
    pub codec: Codec,
    /// Talk spurts; without, everybody talks all the time.
    pub spurts: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// 64 kbit/s: 160 bytes a packet.
    #[default]
    G711,
    /// 32 kbit/s: 80 bytes a packet.
    Opus,
}

impl Codec {
    pub fn payload(self) -> usize {
        match self {
            Codec::G711 => PAYLOAD,
            Codec::Opus => OPUS_PAYLOAD,
        }
    }

    /// RTP payload type, as the descriptions of light callers map it.
    pub fn payload_type(self) -> u8 {
        match self {
            Codec::G711 => 0,
            Codec::Opus => 111,
        }
    }

    /// RTP clock ticks in 20 ms.
    pub fn ticks(self) -> u32 {
        match self {
            Codec::G711 => 160,
            Codec::Opus => 960,
        }
    }
}

impl FromStr for Voice {
    type Err = String;

    /// `g711` or `opus`, with `,vad` for talk spurts.
    fn from_str(text: &str) -> Result<Voice, String> {
        let (codec, spurts) = match text.split_once(',') {
            Some((codec, "vad")) => (codec, true),
            Some(_) => (text, false),
            None => (text, false),
        };
        let codec = match codec {
            "g711" => Codec::G711,
            "opus" => Codec::Opus,
            _ => return Err("expected none, g711 or opus, the last two also with pauses: \"opus,vad\"".to_owned()),
        };
        Ok(Voice { codec, spurts })
    }
}

/// What goes at one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// A packet with `bytes` of payload.
    Packet {
        bytes: usize,
        marker: bool,
        timestamp: u32,
    },
    Silent,
}

/// One speaker, asked every 20 ms what to send. No clock: the count of ticks is the time.
#[derive(Clone, Copy, Debug)]
pub struct Speaker {
    voice: Voice,
    random: u64,
    talking: bool,
    /// Ticks so far, the tick at which talk or silence ends, and ticks since the last packet.
    tick: u32,
    until: u32,
    since: u32,
}

impl Speaker {
    pub fn new(voice: Voice, seed: u64) -> Speaker {
        let mut speaker = Speaker { voice, random: mix(seed), talking: true, tick: 0, until: 0, since: 0 };
        speaker.until = speaker.length(TALK);
        speaker
    }

    pub fn tick(&mut self) -> Tick {
        let mut marker = self.tick == 0;
        if self.voice.spurts && self.tick >= self.until {
            self.talking = !self.talking;
            marker = self.talking;
            self.until = self.tick.saturating_add(self.length(if self.talking { TALK } else { SILENCE }));
        }
        let timestamp = self.tick.wrapping_mul(self.voice.codec.ticks());
        self.tick = self.tick.wrapping_add(1);
        self.since += 1;
        if !self.talking && self.since < COMFORT {
            return Tick::Silent;
        }
        self.since = 0;
        let bytes = if self.talking { self.voice.codec.payload() } else { SHORTEST };
        Tick::Packet { bytes, marker, timestamp }
    }

    pub fn payload_type(&self) -> u8 {
        self.voice.codec.payload_type()
    }

    /// An exponential length in whole ticks, one at least.
    fn length(&mut self, mean: Duration) -> u32 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let unit = (mix(self.random) >> 11) as f64 / (1u64 << 53) as f64;
        let ticks = -(1.0 - unit).ln() * mean.as_secs_f64() * f64::from(RATE);
        (ticks.round() as u32).max(1)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ticks(voice: &str, seed: u64, count: usize) -> Vec<Tick> {
        let mut speaker = Speaker::new(voice.parse().unwrap(), seed);
        (0..count).map(|_| speaker.tick()).collect()
    }

    #[test]
    fn without_spurts_every_tick_is_a_packet_and_only_the_first_is_marked() {
        for (place, tick) in ticks("g711", 1, 500).into_iter().enumerate() {
            assert_eq!(tick, Tick::Packet { bytes: 160, marker: place == 0, timestamp: place as u32 * 160 });
        }
    }

    #[test]
    fn talk_takes_the_share_of_p59_and_lasts_as_long() {
        let said = ticks("opus,vad", 7, 2_000_000);
        let talk = |tick: &Tick| matches!(tick, Tick::Packet { bytes: 80, .. });
        let share = said.iter().filter(|tick| talk(tick)).count() as f64 / said.len() as f64;
        let spurts = said.iter().filter(|tick| matches!(tick, Tick::Packet { marker: true, .. })).count() as f64;
        let mean = share * said.len() as f64 / 50.0 / spurts;
        // Some 15 000 spurts: a standard error below one percent each.
        assert!((share / 0.3875 - 1.0).abs() < 0.04, "{share}");
        assert!((mean / 1.004 - 1.0).abs() < 0.04, "{mean} s");
    }

    #[test]
    fn silence_is_comfort_noise_every_four_hundred_milliseconds() {
        let said = ticks("opus,vad", 3, 100_000);
        let mut since = 0;
        for tick in said {
            since += 1;
            match tick {
                Tick::Silent => assert!(since < COMFORT),
                Tick::Packet { bytes: SHORTEST, marker, .. } => {
                    assert_eq!((since, marker), (COMFORT, false));
                    since = 0;
                }
                Tick::Packet { .. } => since = 0,
            }
        }
    }

    #[test]
    fn the_same_seed_pauses_alike_and_another_does_not() {
        assert_eq!(ticks("opus,vad", 5, 2_000), ticks("opus,vad", 5, 2_000));
        assert_ne!(ticks("opus,vad", 5, 2_000), ticks("opus,vad", 6, 2_000));
    }

    #[test]
    fn kinds_are_read_and_others_refused() {
        assert_eq!("opus,vad".parse(), Ok(Voice { codec: Codec::Opus, spurts: true }));
        assert_eq!("g711".parse(), Ok(Voice::default()));
        for wrong in ["", "vad", "opus,dtx", "g722", "none,vad"] {
            assert!(wrong.parse::<Voice>().is_err(), "{wrong}");
        }
    }
}
