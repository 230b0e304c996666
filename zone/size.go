package zone

// A Size is how much a zone holds.
type Size struct {
	Records int // as Limits.ZoneRecords counts them
	Octets  int // as Limits.ZoneOctets does: of names, rdata and owners, without tombstones
	Names   int // with records and an owner
	Owners  int // of these names and of tombstones

	Tombstones      int // names without records that have an owner, those that have expired included
	TombstoneOctets int
}

// Size returns how much the zone holds. It takes the same short time for zones of any size.
func (s *Snapshot) Size() Size {
	return Size{
		Records: s.records, Octets: s.octets,
		Names: s.owners.Len() - s.tombstones.Len(), Owners: s.usage.len(),
		Tombstones: s.tombstones.Len(), TombstoneOctets: s.tombstoneOctets,
	}
}

// Limits returns the limits in force, with the defaults for those that were not set.
func (z *Zone) Limits() Limits { return z.settings.Load().limits }
