package documents_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os/exec"
	"testing"
)

// TestZabbix lets zabbix_sender read what was written and send it to a server that speaks its protocol: every reading arrives.
func TestZabbix(t *testing.T) {
	sender, err := exec.LookPath("zabbix_sender")
	if err != nil {
		t.Skip("zabbix_sender is not on this machine (apt-get install zabbix-agent)")
	}
	text := written(t, open(t, story().Write(t), "en"), "zabbix")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	type reading struct {
		Host, Key, Value string
		Clock            int64
	}
	var got []reading
	ended := make(chan error, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil { // the test has closed it
				ended <- nil
				return
			}
			var sent struct{ Data []reading }
			if err := packet(c, &sent); err != nil {
				ended <- err
				return
			}
			got = append(got, sent.Data...)
		}
	}()
	port := fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
	cmd := exec.CommandContext(t.Context(), sender, "-z", "127.0.0.1", "-p", port, "-T", "-i", "-")
	cmd.Stdin = bytes.NewReader(text)
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("zabbix_sender: %v\n%s", err, said)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if want := bytes.Count(text, []byte("\n")); len(got) != want || want == 0 {
		t.Fatalf("%d readings arrived of %d\n%s", len(got), want, said)
	}
	last := got[len(got)-1]
	if last.Host != "livedrill-known" || last.Key != "livedrill.exit[]" || last.Value != "3" || last.Clock != story().Started.Unix()+120 {
		t.Errorf("the last reading is %+v", last)
	}
}

// packet reads one packet of Zabbix' protocol ("ZBXD", flags, the length, a reserved number, JSON), and says that all was well.
func packet(c net.Conn, into any) error {
	defer c.Close()
	var head struct {
		Magic            [4]byte
		Flags            byte
		Length, Reserved uint32
	}
	if err := binary.Read(c, binary.LittleEndian, &head); err != nil {
		return err
	}
	if string(head.Magic[:]) != "ZBXD" || head.Flags != 1 || head.Length > 1<<20 {
		return fmt.Errorf("no header: %+v", head)
	}
	text := make([]byte, head.Length)
	if _, err := io.ReadFull(c, text); err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return err
	}
	answer := []byte(`{"response":"success","info":"processed: 1; failed: 0; total: 1; seconds spent: 0.000001"}`)
	head.Length = uint32(len(answer))
	if err := binary.Write(c, binary.LittleEndian, head); err != nil {
		return err
	}
	_, err := c.Write(answer)
	return err
}
