"""Five steps of a small DCGAN in PyTorch: tests/data/gan.golden.safetensors. Images [6, 1, 8, 8] from noise [6, 5]; each step
trains the discriminator on real and generated images (detached), then the generator, on other noise, through the discriminator;
both with Adam (2e-3, betas 0.5 and 0.999) and batch norm (Radford et al. 2016). Holds batches, noise, initial and last weights with running statistics by Hone's names, the losses, and what the generator
makes of the last noise in evaluation. Needs torch, safetensors.

    python scripts/golden/make_gan_golden.py
"""
import pathlib

import torch
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS, BATCH, NOISE = 5, 6, 5


class Reshape(torch.nn.Module):
    def forward(self, x):
        return x.view(-1, 8, 2, 2)


def parameters(net, prefix):
    state = {f"{prefix}.{k}": v.clone() for k, v in net.state_dict().items() if "num_batches" not in k}
    return {k: v.contiguous() for k, v in state.items()}


def main():
    torch.manual_seed(5)
    torch.set_num_threads(1)
    nn = torch.nn
    generator = nn.Sequential(nn.Linear(NOISE, 32), Reshape(), nn.BatchNorm2d(8), nn.ReLU(),
                              nn.ConvTranspose2d(8, 4, 4, 2, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
                              nn.ConvTranspose2d(4, 1, 4, 2, 1), nn.Tanh())
    discriminator = nn.Sequential(nn.Conv2d(1, 4, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 8, 4, 2, 1, bias=False),
                                  nn.BatchNorm2d(8), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(32, 1))
    golden = {**parameters(generator, "first.g"), **parameters(discriminator, "first.d")}
    real, noise = torch.rand(STEPS, BATCH, 1, 8, 8) * 2 - 1, torch.randn(STEPS, 2, BATCH, NOISE)
    ones, zeros = torch.ones(BATCH, 1), torch.zeros(BATCH, 1)
    loss = nn.BCEWithLogitsLoss()
    of_g = torch.optim.Adam(generator.parameters(), lr=2e-3, betas=(0.5, 0.999))
    of_d = torch.optim.Adam(discriminator.parameters(), lr=2e-3, betas=(0.5, 0.999))
    losses = []
    for x, z in zip(real, noise):
        of_d.zero_grad()
        d_loss = loss(discriminator(x), ones) + loss(discriminator(generator(z[0]).detach()), zeros)
        d_loss.backward()
        of_d.step()
        of_g.zero_grad()
        g_loss = loss(discriminator(generator(z[1])), ones)
        g_loss.backward()
        of_g.step()
        losses.append([d_loss.item(), g_loss.item()])
    golden |= {**parameters(generator, "last.g"), **parameters(discriminator, "last.d")}
    generator.eval()
    golden |= {"real": real, "noise": noise, "losses": torch.tensor(losses), "images": generator(noise[-1, 1]).detach()}
    target = ROOT / "tests" / "data" / "gan.golden.safetensors"
    save_file(golden, target)
    target.chmod(0o644)
    print(losses)


main()
