package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/schedule"
)

// timers reads systemd's timers. Where systemd does not run there are none.
func (f *finder) timers(ctx context.Context) {
	out, err := f.machine.Run(ctx, "systemctl", "list-timers", "--all", "--output=json")
	if errors.Is(err, exec.ErrNotFound) || err != nil && strings.Contains(err.Error(), "not been booted with systemd") {
		return
	}
	var list []struct{ Unit, Activates string }
	if err == nil {
		err = json.Unmarshal(out, &list)
	}
	if err != nil {
		f.skip("systemctl list-timers", 0, "", err.Error())
		return
	}
	for i, t := range list {
		if i == maxTimers {
			f.skip("systemctl list-timers", 0, "", fmt.Sprintf("no more than %d timers are read", maxTimers))
			return
		}
		if !unitName.MatchString(t.Unit) || !unitName.MatchString(t.Activates) {
			continue // it would be a flag
		}
		if err := f.timer(ctx, t.Unit, t.Activates); err != nil {
			f.skip(t.Unit, 0, "", err.Error())
		}
	}
}

var (
	unitName  = regexp.MustCompile(`^[A-Za-z0-9_@.:\\][A-Za-z0-9_@.:\\-]*$`)
	onTime    = regexp.MustCompile(`\b(OnCalendar|OnUnitActiveUSec|OnUnitInactiveUSec|OnBootUSec|OnStartupUSec|OnActiveUSec)=([^;]*?) *(?:;|\})`)
	execStart = regexp.MustCompile(`\{ path=[^;]* ; argv\[\]=(.*?) ; ignore_errors=`)
)

func (f *finder) timer(ctx context.Context, unit, activates string) error {
	show, err := f.machine.Run(ctx, "systemctl", "show", "--property=TimersCalendar", "--property=TimersMonotonic", "--property=RandomizedDelayUSec", "--", unit)
	if err != nil {
		return err
	}
	var when []string
	for _, m := range onTime.FindAllStringSubmatch(string(show), -1) {
		when = append(when, m[1]+"="+m[2])
	}
	if len(when) != 1 {
		return fmt.Errorf("it has %d times, a monitor has one schedule", len(when))
	}
	value, ok := strings.CutPrefix(when[0], "OnCalendar=")
	if !ok {
		return fmt.Errorf("%s has no times on the clock", when[0])
	}
	expression, zone, err := cronOf(value)
	if err != nil {
		return err
	}
	service, err := f.machine.Run(ctx, "systemctl", "show", "--property=ExecStart", "--", activates)
	if err != nil {
		return err
	}
	commands := execStart.FindAllStringSubmatch(string(service), -1)
	if len(commands) != 1 {
		return fmt.Errorf("%s has %d commands, one can be watched", activates, len(commands))
	}
	command := commands[0][1]
	if slug := watchedBy(command); slug != "" {
		f.taken[slug] = true
		return fmt.Errorf("watched already, as %s", slug)
	}
	// systemd prints arguments without their quotes: where there may have been some, the line cannot
	// be told.
	if strings.ContainsAny(command, `'"\$;`) {
		return fmt.Errorf("the command of %s has quotes or variables: wrap it by hand: %s", activates, command)
	}
	slug := f.taken.take(slugify(strings.TrimSuffix(unit, ".timer")))
	flags := fmt.Sprintf("--schedule '%s'", expression)
	if zone != "" {
		flags += " --timezone " + quote(zone)
	}
	if delay := randomDelay(string(show)); delay > 0 {
		flags += fmt.Sprintf(" --margin %dm", int((delay + timerMargin).Minutes()))
	}
	f.found.Jobs = append(f.found.Jobs, foundJob{
		File: unit, Slug: slug, Schedule: expression, Timezone: zone, Words: inZone(expression, zone), Command: command,
		Now:      "ExecStart=" + command,
		Proposed: fmt.Sprintf("# systemctl edit %s\n[Service]\nEnvironment=MIDWATCH_URL=https://midwatch.example.org MIDWATCH_INGEST_KEY_FILE=/etc/midwatch/key\nExecStart=\nExecStart=%s cron %s %s -- %s", activates, f.machine.Binary, slug, flags, command),
	})
	return nil
}

// timerMargin is waited for beyond the delay that systemd draws by lot.
const timerMargin = 10 * time.Minute

var (
	delayLine = regexp.MustCompile(`(?m)^RandomizedDelayUSec=(.+)$`)
	delayPart = regexp.MustCompile(`^(\d{1,6})(d|h|min|s)$`)
)

// randomDelay is the longest delay that systemd may add to a timer; 0 where it is none or below a
// second.
func randomDelay(show string) time.Duration {
	m := delayLine.FindStringSubmatch(show)
	if m == nil {
		return 0
	}
	units := map[string]time.Duration{"d": 24 * time.Hour, "h": time.Hour, "min": time.Minute, "s": time.Second}
	var delay time.Duration
	for part := range strings.FieldsSeq(m[1]) {
		if p := delayPart.FindStringSubmatch(part); p != nil {
			n, _ := strconv.Atoi(p[1]) // digits only
			delay += time.Duration(n) * units[p[2]]
		}
	}
	return delay
}

// calendar is the form into which systemd brings calendar events, as far as cron can say it.
var calendar = regexp.MustCompile(`^(?:([A-Z][A-Za-z,.]*) )?\*-([0-9*,/.]+)-([0-9*,/.]+) ([0-9*,/.]+):([0-9*,/.]+):00(?: ([A-Za-z_]+(?:/[A-Za-z_+0-9-]+)*))?$`)

var errNotCron = errors.New("no cron expression says the same")

// cronOf turns a calendar event of systemd into a cron expression.
func cronOf(event string) (expression, zone string, err error) {
	m := calendar.FindStringSubmatch(event)
	if m == nil {
		return "", "", fmt.Errorf("OnCalendar=%s: %w", event, errNotCron)
	}
	// Cron takes either day where both are given, systemd both.
	if m[1] != "" && m[3] != "*" {
		return "", "", fmt.Errorf("OnCalendar=%s: %w", event, errNotCron)
	}
	days := "*"
	if m[1] != "" {
		days = strings.ToUpper(strings.ReplaceAll(m[1], "..", "-"))
	}
	var fields []string
	for _, f := range []struct {
		text string
		last int
	}{{m[5], 59}, {m[4], 23}, {m[3], 31}, {m[2], 12}} {
		field, ok := cronField(f.text, f.last)
		if !ok {
			return "", "", fmt.Errorf("OnCalendar=%s: %w", event, errNotCron)
		}
		fields = append(fields, field)
	}
	expression = strings.Join(append(fields, days), " ")
	if _, err := schedule.Parse(schedule.Crontab, expression, m[6]); err != nil {
		return "", "", fmt.Errorf("OnCalendar=%s: %w", event, err)
	}
	return expression, m[6], nil
}

// cronField turns one part: 06, *, 1..5, 0/15, and lists of them.
func cronField(text string, last int) (string, bool) {
	var parts []string
	for part := range strings.SplitSeq(text, ",") {
		whole, step, stepped := strings.Cut(part, "/")
		from, to, ranged := strings.Cut(whole, "..")
		if whole != "*" {
			n, err := strconv.Atoi(from)
			if err != nil || n > last {
				return "", false
			}
			whole = strconv.Itoa(n)
			if ranged {
				end, err := strconv.Atoi(to)
				if err != nil || end > last {
					return "", false
				}
				whole += "-" + strconv.Itoa(end)
			}
		}
		if stepped {
			n, err := strconv.Atoi(step)
			if err != nil || n < 1 {
				return "", false
			}
			if whole != "*" && !ranged { // 0/15 goes on to the end
				whole += "-" + strconv.Itoa(last)
			}
			whole += "/" + strconv.Itoa(n)
		}
		parts = append(parts, whole)
	}
	return strings.Join(parts, ","), true
}
