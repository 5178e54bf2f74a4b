package oncall

import (
	"archive/zip"
	"go/build"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// someZones are those of which to be sure when the list of all cannot be read: of each offset and
// each odd rule of the time tested at least one.
var someZones = strings.Fields(`
	UTC Africa/Abidjan Africa/Cairo Africa/Casablanca Africa/El_Aaiun Africa/Johannesburg Africa/Juba Africa/Khartoum
	Africa/Lagos Africa/Nairobi America/Adak America/Anchorage America/Argentina/Buenos_Aires America/Asuncion
	America/Bogota America/Caracas America/Chicago America/Denver America/Halifax America/Havana America/Los_Angeles
	America/Mexico_City America/Miquelon America/New_York America/Noronha America/Nuuk America/Phoenix
	America/Port-au-Prince America/Santiago America/Sao_Paulo America/Scoresbysund America/St_Johns America/Whitehorse
	Antarctica/Casey Antarctica/Macquarie Antarctica/Troll Antarctica/Vostok Asia/Almaty Asia/Amman Asia/Beirut Asia/Damascus
	Asia/Dhaka Asia/Dubai Asia/Gaza Asia/Hebron Asia/Jerusalem Asia/Kabul Asia/Karachi Asia/Kathmandu Asia/Kolkata
	Asia/Pyongyang Asia/Qyzylorda Asia/Shanghai Asia/Tehran Asia/Tokyo Asia/Yangon Atlantic/Azores Australia/Adelaide
	Australia/Brisbane Australia/Eucla Australia/Lord_Howe Australia/Sydney Europe/Berlin Europe/Chisinau Europe/Dublin
	Europe/Istanbul Europe/Kyiv Europe/Lisbon Europe/London Europe/Moscow Europe/Volgograd Pacific/Apia Pacific/Auckland
	Pacific/Chatham Pacific/Easter Pacific/Fiji Pacific/Honolulu Pacific/Kiritimati Pacific/Marquesas Pacific/Norfolk
	Pacific/Pago_Pago Pacific/Tongatapu`)

// zones returns a name for each set of rules that the toolchain's time zones have, or else someZones.
func zones(t *testing.T) []string {
	t.Helper()
	archive, err := zip.OpenReader(filepath.Join(build.Default.GOROOT, "lib", "time", "zoneinfo.zip"))
	if err != nil {
		t.Logf("only some zones: %v", err)
		return someZones
	}
	defer archive.Close()
	var names []string
	known := map[string]bool{}
	for _, f := range archive.File {
		if f.FileInfo().IsDir() {
			continue
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		rules, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		if !known[string(rules)] {
			known[string(rules)] = true
			names = append(names, f.Name)
		}
	}
	return names
}

// latest returns the latest reading that a clock in the zone has shown until the instant, which after
// the clock was put back is not the one that it shows.
func latest(at time.Time, changes []time.Time, location *time.Location) time.Time {
	reading := func(at time.Time) time.Time {
		_, offset := at.In(location).Zone()
		return at.UTC().Add(time.Duration(offset) * time.Second)
	}
	latest := reading(at)
	for _, c := range changes {
		if c.After(at) || at.Sub(c) > 48*time.Hour {
			continue
		}
		if before := reading(c.Add(-1)).Add(1); before.After(latest) {
			// A reading at which the clock is put back is not shown any more.
			latest = before.Add(-1)
		}
	}
	return latest
}

// TestEachInstantOfEachZoneHasOneAnswer is the property P10: for each instant and each zone exactly
// one person is on call, without a gap or an overlap, from 2020 to 2035. Around clock changes it is
// also the right person: as many hand-overs are over as the clock on the wall has shown.
func TestEachInstantOfEachZoneHasOneAnswer(t *testing.T) {
	t.Parallel()
	var (
		begin  = time.Date(2020, time.January, 1, 0, 0, 0, 0, time.UTC)
		end    = time.Date(2036, time.January, 1, 0, 0, 0, 0, time.UTC)
		start  = time.Date(2019, time.December, 1, 0, 0, 0, 0, time.UTC)
		people = strings.Fields("a b c d e f g")
		checks int
	)
	names := zones(t)
	for _, name := range names {
		location, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		var changes []time.Time
		for _, change := begin.In(location).ZoneBounds(); !change.IsZero() && change.Before(end); _, change = change.In(location).ZoneBounds() {
			changes = append(changes, change)
		}
		for i, every := range []string{Daily, Weekly, Monthly} {
			// The hours at which clocks are changed, spread over the zones.
			handover := []string{"02:30", "00:00", "09:00", "03:00", "00:30", "23:30"}[(len(name)+i)%6]
			s := Schedule{Name: name, Layers: []Layer{{
				Name: "layer", Zone: name, Start: start.Format(time.DateOnly), Every: every, Handover: handover, People: people,
			}}}
			if err := s.Validate(); err != nil {
				t.Fatal(err)
			}
			table := s.compile()
			on := begin
			for _, shift := range table.shifts(begin, end) {
				if !shift.From.Equal(on) || !shift.From.Before(shift.To) {
					t.Fatalf("%s, %s at %s: %+v does not follow %s", name, every, handover, shift, on)
				}
				on = shift.To
			}
			if !on.Equal(end) {
				t.Fatalf("%s, %s at %s: nobody from %s", name, every, handover, on)
			}
			clock, _ := parseClock(handover)
			for _, change := range changes {
				for at := change.Add(-2 * time.Hour); at.Before(change.Add(2 * time.Hour)); at = at.Add(30 * time.Minute) {
					// Hand-over k is over once the clock has shown its reading or a later one.
					last := latest(at, changes, location).Add(-clock)
					turns := 0
					switch every {
					case Daily:
						turns = int(last.Sub(start) / (24 * time.Hour))
					case Weekly:
						turns = int(last.Sub(start) / (7 * 24 * time.Hour))
					default:
						turns = 12*(last.Year()-start.Year()) + int(last.Month()-start.Month())
					}
					got, ok := table.onCall(at)
					if want := people[turns%len(people)]; !ok || got.Person != want {
						t.Fatalf("%s, %s at %s: at %s %q is on call (%v), want %q", name, every, handover, at, got.Person, ok, want)
					}
					checks++
				}
			}
		}
		// Hours that together are the whole week leave no gap either.
		whole := week{compileWeek([]Hours{{From: "02:30", To: "14:00"}, {From: "14:00", To: "02:30"}}, "").hours, location}
		for _, change := range changes {
			want := Span{change.UTC().AddDate(0, 0, -2), change.UTC().AddDate(0, 0, 2)}
			if spans := whole.spans(want.From, want.To); len(spans) != 1 || spans[0] != want {
				t.Fatalf("%s: hours of the whole day leave gaps around %s: %v", name, change, spans)
			}
		}
	}
	t.Logf("%d zones, %d instants around their clock changes", len(names), checks)
}

func TestZonesByHandAreKnown(t *testing.T) {
	t.Parallel()
	for _, name := range someZones {
		if _, err := time.LoadLocation(name); err != nil {
			t.Error(err)
		}
	}
	if len(someZones) < 60 {
		t.Errorf("%d zones are too few", len(someZones))
	}
}
