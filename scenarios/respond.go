package scenarios

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	faultkinds "github.com/livedrill/livedrill/injectors/kinds"
	"github.com/livedrill/livedrill/reports"
)

// mostRemarks and longestRemark bound what a run takes down of its responders.
const (
	mostRemarks   = 1000
	longestRemark = 500
)

// responders answers the people who work on the drill while it goes on.
func (d *drill) responders() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /remark", func(w http.ResponseWriter, r *http.Request) {
		var m reports.Remark
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<14)).Decode(&m)
		if err == nil {
			err = d.remark(&m)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(m) // the client has gone: nothing to do
	})
	return mux
}

// remark takes down what somebody says, at the time at which it is said.
func (d *drill) remark(m *reports.Remark) error {
	m.At, m.Score = *d.seconds(time.Now()), nil
	switch {
	case m.By == "" || m.What == reports.SaidAction && m.Text == "":
		return errors.New("a remark says who makes it, and an action what was done")
	case utf8.RuneCountInString(m.By+m.Fault+m.On+m.Text) > longestRemark:
		return fmt.Errorf("a remark has at most %d characters", longestRemark)
	}
	switch m.What {
	case reports.SaidAcknowledge, reports.SaidAction:
		if m.Fault != "" || m.On != "" {
			return errors.New("only a cause names a fault")
		}
	case reports.SaidCause:
		if _, ok := faultkinds.Find(m.Fault); !ok {
			return fmt.Errorf("no fault %q: livedrill list faults shows all", m.Fault)
		}
		if _, err := d.stack.Platform().Find(m.On); err != nil {
			return err
		}
	default:
		return fmt.Errorf("no remark is a %q", m.What)
	}
	details := map[string]any{"what": m.What, "by": m.By}
	for key, v := range map[string]string{"names": m.Fault, "on": m.On, "text": m.Text} {
		if v != "" {
			details[key] = v
		}
	}
	d.mu.Lock()
	over, many := d.facts.Finished, len(d.facts.Remarks) >= mostRemarks
	if !over && !many {
		d.facts.Remarks = append(d.facts.Remarks, *m)
	}
	d.mu.Unlock()
	switch {
	case over:
		return errors.New("the drill is over")
	case many:
		return fmt.Errorf("this drill has taken down %d remarks, and takes no more", mostRemarks)
	}
	d.events.Add("responder", details)
	d.audit.Add(d.Actor, "responder", details)
	d.checkpoint()
	return nil
}
