//! Reads a few of the relay's own counters from its metrics page, where it has one.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(2);
const MAX_PAGE: u64 = 1 << 20;

/// What the relay says of itself.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Metrics {
    /// Allocations that exist now.
    pub allocations: Option<u64>,
    /// Datagrams that went no further, by reason, those that happened.
    pub drops: Vec<(String, u64)>,
    /// What its process has used and holds, by the names Prometheus clients give them.
    pub cpu: Option<Duration>,
    pub resident_bytes: Option<u64>,
}

/// What the metrics pages at `admins` say together, of those that can be read; none if none can.
pub async fn metrics(admins: &[SocketAddr]) -> Option<Metrics> {
    let mut all: Option<Metrics> = None;
    for admin in admins {
        if let Ok(Some(page)) = timeout(PATIENCE, page(*admin)).await {
            all.get_or_insert_default().add(parse(&page));
        }
    }
    all
}

impl Metrics {
    fn add(&mut self, other: Metrics) {
        for (ours, theirs) in
            [(&mut self.allocations, other.allocations), (&mut self.resident_bytes, other.resident_bytes)]
        {
            *ours = ours.map_or(theirs, |ours| Some(ours + theirs.unwrap_or(0)));
        }
        self.cpu = self.cpu.map_or(other.cpu, |ours| Some(ours + other.cpu.unwrap_or_default()));
        for (reason, times) in other.drops {
            match self.drops.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, ours)) => *ours += times,
                None => self.drops.push((reason, times)),
            }
        }
    }
}

async fn page(admin: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(admin).await.ok()?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut page = String::new();
    stream.take(MAX_PAGE).read_to_string(&mut page).await.ok()?;
    page.starts_with("HTTP/1.1 200").then_some(page)
}

fn parse(page: &str) -> Metrics {
    let mut metrics = Metrics::default();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.rsplit_once(' ') else { continue };
        let Ok(value) = value.trim().parse::<f64>() else { continue };
        match name {
            "process_cpu_seconds_total" => metrics.cpu = Duration::try_from_secs_f64(value).ok(),
            "process_resident_memory_bytes" => metrics.resident_bytes = Some(value as u64),
            _ => {}
        }
        let value = value as u64;
        if name == "relay_allocations" || name.starts_with("relay_allocations{") {
            *metrics.allocations.get_or_insert(0) += value;
        } else if let Some(labels) = name.strip_prefix("relay_drops_total{") {
            let reason = labels.split("reason=\"").nth(1).and_then(|rest| rest.split('"').next());
            if let (Some(reason), 1..) = (reason, value) {
                metrics.drops.push((reason.to_owned(), value));
            }
        }
    }
    metrics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_of_all_workers_and_drops_that_happened_are_read() {
        let page = "# HELP relay_allocations x\nrelay_allocations{worker=\"0\"} 3\nrelay_allocations{worker=\"1\"} 4\n\
                    relay_allocations_created_total{worker=\"0\"} 99\n\
                    relay_drops_total{reason=\"no_permission\"} 5\nrelay_drops_total{reason=\"malformed\"} 0\n";
        let metrics = parse(page);
        assert_eq!(metrics.allocations, Some(7));
        assert_eq!(metrics.drops, [("no_permission".to_owned(), 5)]);
        assert_eq!(parse("nothing of ours\n"), Metrics::default());
        let process = parse("process_cpu_seconds_total 12.5\nprocess_resident_memory_bytes 4.2e+07\n");
        assert_eq!(process.cpu.zip(process.resident_bytes), Some((Duration::from_millis(12_500), 42_000_000)));
    }
}
