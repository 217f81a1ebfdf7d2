//! Requests of one connection that have no complete answer yet, found by their stream's id.
use crate::client::Ticket;

/// One of them.
#[derive(Debug)]
pub struct Flight {
    /// Its stream; 0: none, the place is free.
    pub id: u32,
    /// What it is the sending of.
    pub ticket: Ticket,
    /// When it was sent, µs.
    pub sent_us: u64,
    /// When the answer's head came, µs; 0 until it does.
    pub first_us: u64,
    /// Bytes of the answer's body so far.
    pub body: u64,
    /// The answer's status; 0 until it came.
    pub status: u16,
    /// Bytes of the request's body that were handed over.
    pub uploaded: usize,
    /// The answer's body, where it is looked at.
    pub kept: Vec<u8>,
}

impl Flight {
    /// One that was sent just now.
    pub fn new(id: u32, ticket: Ticket, sent_us: u64) -> Flight {
        Flight { id, ticket, sent_us, first_us: 0, body: 0, status: 0, uploaded: 0, kept: Vec::new() }
    }

    fn none() -> Flight {
        Flight::new(0, Ticket { request: 0, intended_us: 0 }, 0)
    }
}

/// All of them. Ids in use are close together and two apart as a rule, so that half the id, cut to the size of the table,
/// is a place of its own; those whose place is taken, by a stream that lasts longer than others, stand apart in a list.
pub struct Flights {
    home: Vec<Flight>,
    apart: Vec<Flight>,
    len: usize,
}

/// The least size of the table, a power of two.
const HOME_MIN: usize = 8;

impl Flights {
    /// Room for `streams` at once.
    pub fn new(streams: usize) -> Flights {
        // Twice as many: few meet.
        let size = streams.saturating_mul(2).clamp(HOME_MIN, 1 << 16).next_power_of_two();
        Flights { home: (0..size).map(|_| Flight::none()).collect(), apart: Vec::new(), len: 0 }
    }

    /// How many.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn place(&self, id: u32) -> usize {
        (id >> 1) as usize & (self.home.len() - 1)
    }

    /// Adds one whose id is new.
    #[inline]
    pub fn insert(&mut self, flight: Flight) {
        self.len += 1;
        let at = self.place(flight.id);
        match self.home.get_mut(at) {
            Some(place) if place.id == 0 => *place = flight,
            _ => self.apart.push(flight),
        }
    }

    /// The one of this stream.
    #[inline]
    pub fn get(&mut self, id: u32) -> Option<&mut Flight> {
        let at = self.place(id);
        match self.home.get_mut(at) {
            Some(flight) if flight.id == id => Some(flight),
            _ => self.apart.iter_mut().find(|f| f.id == id),
        }
    }

    /// Takes one out.
    #[inline]
    pub fn remove(&mut self, id: u32) -> Option<Flight> {
        let at = self.place(id);
        let flight = match self.home.get_mut(at) {
            Some(flight) if flight.id == id => std::mem::replace(flight, Flight::none()),
            _ => {
                let at = self.apart.iter().position(|f| f.id == id)?;
                self.apart.swap_remove(at)
            }
        };
        self.len -= 1;
        Some(flight)
    }

    /// All, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Flight> {
        self.home.iter().filter(|f| f.id != 0).chain(&self.apart)
    }

    /// Takes all out.
    pub fn drain(&mut self) -> impl Iterator<Item = Flight> {
        self.len = 0;
        let home = self.home.iter_mut().filter(|f| f.id != 0).map(|f| std::mem::replace(f, Flight::none()));
        home.chain(self.apart.drain(..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn streams_are_found_however_long_they_last(
            streams in 1usize..40,
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..300),
        ) {
            let (mut flights, mut model, mut next) = (Flights::new(streams), BTreeSet::new(), 1);
            for (open, which) in steps {
                if open && model.len() < streams {
                    flights.insert(Flight::new(next, Ticket { request: 0, intended_us: u64::from(next) }, 0));
                    model.insert(next);
                    next += 2;
                } else if !model.is_empty() {
                    let id = *model.iter().nth(which.index(model.len())).unwrap();
                    model.remove(&id);
                    prop_assert_eq!(flights.remove(id).unwrap().ticket.intended_us, u64::from(id));
                    prop_assert!(flights.remove(id).is_none());
                }
                prop_assert_eq!(flights.len(), model.len());
                prop_assert_eq!(flights.iter().map(|f| f.id).collect::<BTreeSet<_>>(), model.clone());
                for id in &model {
                    prop_assert_eq!(flights.get(*id).map(|f| f.id), Some(*id));
                }
                prop_assert!(flights.get(next).is_none());
            }
            let all: BTreeSet<u32> = flights.drain().map(|f| f.id).collect();
            prop_assert_eq!(all, model);
            prop_assert_eq!((flights.len(), flights.iter().count()), (0, 0));
        }
    }
}
