//go:build unix

package testservers

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/switchyard-dev/switchyard/internal/testservers/tcpproxy"
)

// betweenBrokers is the listener for the other brokers, where they can be cut off.
const betweenBrokers = "BETWEEN"

// kafkaLink is a way from one broker to another.
type kafkaLink struct {
	from, to int // numbers of brokers
	proxy    *tcpproxy.Proxy
}

// link puts a proxy on each way from one broker to another. Brokers know each other by
// name. Each has a hosts file of its own, in which the others' names are a loopback
// address that is for this broker alone, and there a proxy listens at the other's port:
// so a proxy knows who is at both of its ends.
func (c *kafkaCluster) link() error {
	for _, from := range c.brokers {
		hosts := []string{"127.0.0.1 localhost", "127.0.0.1 " + from.name()}
		if name, err := os.Hostname(); err == nil {
			hosts = append(hosts, "127.0.0.1 "+name)
		}
		own := fmt.Sprintf("127.0.0.%d", 1+from.node)
		for _, to := range c.brokers {
			if from == to {
				continue
			}
			hosts = append(hosts, own+" "+to.name())
			for _, port := range []string{strconv.Itoa(to.betweenPort), strconv.Itoa(to.controllerPort)} {
				proxy, err := tcpproxy.Listen(own+":"+port, "127.0.0.1:"+port)
				if errors.Is(err, syscall.EADDRINUSE) {
					return fmt.Errorf("%w: %w", errPortTaken, err)
				}
				if err != nil {
					return err
				}
				c.links = append(c.links, kafkaLink{from.node, to.node, proxy})
			}
		}
		if err := os.WriteFile(from.hostsFile(), []byte(strings.Join(hosts, "\n")+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (c *kafkaCluster) unlink() {
	for _, link := range c.links {
		link.proxy.Close()
	}
	c.links = nil
}

// separate does something to every way from and to a broker.
func (c *kafkaCluster) separate(n int, do func(*tcpproxy.Proxy)) error {
	if _, err := c.broker(n); err != nil {
		return err
	}
	if len(c.links) == 0 {
		return errors.New("testservers: the brokers were not started as Separable")
	}
	for _, link := range c.links {
		if link.from == n || link.to == n {
			do(link.proxy)
		}
	}
	return nil
}
